"use strict";

// What has to do with passkeys is hidden until this script finds that the browser has
// them, and that the page is at the address for which they hold.

const passkeys = {
  // The JSON form of the Web Authentication API has bytes in base64url.
  bytes(text) {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  },

  text(buffer) {
    const binary = Array.from(new Uint8Array(buffer), (b) => String.fromCharCode(b)).join("");
    return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  },

  descriptors(list) {
    return (list ?? []).map((d) => ({ ...d, id: passkeys.bytes(d.id) }));
  },

  async ask(options) {
    const publicKey = { ...options, challenge: passkeys.bytes(options.challenge), allowCredentials: passkeys.descriptors(options.allowCredentials) };
    const { response, ...credential } = passkeys.found(await navigator.credentials.get({ publicKey }));
    return {
      ...credential,
      response: {
        clientDataJSON: passkeys.text(response.clientDataJSON),
        authenticatorData: passkeys.text(response.authenticatorData),
        signature: passkeys.text(response.signature),
        userHandle: response.userHandle ? passkeys.text(response.userHandle) : undefined,
      },
    };
  },

  async make(options) {
    const publicKey = {
      ...options,
      challenge: passkeys.bytes(options.challenge),
      user: { ...options.user, id: passkeys.bytes(options.user.id) },
      excludeCredentials: passkeys.descriptors(options.excludeCredentials),
    };
    const { response, ...credential } = passkeys.found(await navigator.credentials.create({ publicKey }));
    return {
      ...credential,
      response: {
        clientDataJSON: passkeys.text(response.clientDataJSON),
        attestationObject: passkeys.text(response.attestationObject),
        transports: response.getTransports?.() ?? [],
      },
    };
  },

  found(credential) {
    return { id: credential.id, rawId: passkeys.text(credential.rawId), type: credential.type, response: credential.response };
  },

  // send answers the form's ceremony and sends the form; a person who changes their
  // mind, or a device that cannot, leaves a word on the page.
  async send(form) {
    const failed = form.querySelector("[data-failed]");
    const button = form.querySelector("button");
    failed.hidden = true;
    button.disabled = true;
    try {
      const options = JSON.parse(form.dataset.options);
      const answer = form.dataset.passkey === "make" ? await passkeys.make(options) : await passkeys.ask(options);
      form.elements.namedItem("credential").value = JSON.stringify(answer);
      form.submit();
    } catch {
      failed.hidden = false;
      button.disabled = false;
    }
  },
};

if (window.isSecureContext && "PublicKeyCredential" in window) {
  for (const part of document.querySelectorAll("[data-passkeys-at]")) {
    part.hidden = part.dataset.passkeysAt !== location.origin;
  }
  for (const part of document.querySelectorAll("[data-without-passkeys]")) {
    part.hidden = part.dataset.withoutPasskeys === location.origin;
  }
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      passkeys.send(form);
    });
  }
}

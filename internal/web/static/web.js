"use strict";

// Everything works without this script. It shows times in the reader's own time zone,
// offers to copy what is to be copied, and leads to the errors of a form.

// The way in which the server writes dates in English is the British one.
const locale = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
for (const time of document.querySelectorAll("time[data-local]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) {
    time.title = time.textContent;
    time.textContent = at.toLocaleString(locale, { dateStyle: "long", timeStyle: "short" });
  }
}

// What became of copying is said beside the button, to who listens too. Where the browser
// does not let a page copy, the text is selected for the reader to do it.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const said = document.createElement("span");
  said.className = "muted";
  said.setAttribute("role", "status");
  button.after(said);
  button.hidden = false;
  let fading;
  button.addEventListener("click", async () => {
    clearTimeout(fading);
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent); // there is no clipboard where the page is not secure
      said.textContent = button.dataset.done;
      fading = setTimeout(() => { said.textContent = ""; }, 4000);
    } catch {
      getSelection().selectAllChildren(source);
      said.textContent = button.dataset.denied;
    }
  });
}

document.getElementById("errors")?.focus();

"use strict";

// Shows the description of the API in place of the plain list, with a way to try it. What
// is tried goes to the bridge that the page came from, whatever address the description
// names, and to nowhere else. Tokens are kept in this page alone, until it is left.

const place = document.getElementById("try");

// Swagger UI has its dark colours under a class.
const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", colour);
colour();

// What is left of Swagger UI's own layout: the page around it says the rest, and is the
// landmark that its layout would be once more.
const inPage = (system) => ({
  components: {
    InPage: ({ getComponent }) => {
      const make = system.React.createElement;
      return make("div", { className: "swagger-ui" },
        make(getComponent("SvgAssets")),
        make("div", { className: "authorize-container" }, make(getComponent("AuthorizeBtnContainer", true))),
        make(getComponent("operations", true)));
    },
  },
});

// Swagger UI says beside a thing what it is, and not to who cannot see that. The names of
// those that have none, by what they are.
const names = {
  "[data-param-name] :is(input, select, textarea)": (e) => e.closest("[data-param-name]").dataset.paramName,
  "[data-property-name] :is(input, select, textarea)": (e) => e.closest("[data-property-name]").dataset.propertyName,
  ".examples-select-element": () => "Example",
  ".body-param__text": () => "Request body",
  ".close-modal": () => "Close",
  "[role=region]": (e) => `Responses of ${e.closest(".opblock").querySelector(".opblock-summary-path").innerText}`,
};

const name = () => {
  for (const [css, of] of Object.entries(names)) {
    for (const element of place.querySelectorAll(`:is(${css}):not([aria-label])`)) {
      element.setAttribute("aria-label", of(element));
    }
  }
  for (const button of place.querySelectorAll(".modal-btn[aria-label]")) {
    button.removeAttribute("aria-label"); // it hides what is written on it
  }
};
new MutationObserver(name).observe(place, { childList: true, subtree: true });

// here points a description at the bridge that the page came from, with the ways to a
// token that end in this page. What can be asked for twice is shown once.
const here = (description) => {
  description.servers = [{ url: location.origin }];
  const { oauth2 } = description.components.securitySchemes;
  const { password } = oauth2.flows;
  for (const address of ["tokenUrl", "refreshUrl"]) {
    password[address] = location.origin + new URL(password[address]).pathname;
  }
  oauth2.flows = { password };
  for (const parameter of Object.values(description.components.parameters)) {
    delete parameter.example; // it would be filled in, and sent
  }
  for (const path of Object.values(description.paths)) {
    if (path.post && path.get?.deprecated) {
      delete path.get;
    }
    if (path.post?.requestBody?.content["*/*"]) {
      delete path.post.requestBody; // it is ignored
    }
  }
  return description;
};

const show = async () => {
  const answer = await fetch(place.dataset.document);
  if (!answer.ok) {
    return; // the plain list stays
  }
  const spec = here(await answer.json());
  place.hidden = false;
  SwaggerUIBundle({
    spec,
    domNode: place,
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [inPage],
    layout: "InPage",
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
  });
  document.getElementById("list").remove();
};
show();

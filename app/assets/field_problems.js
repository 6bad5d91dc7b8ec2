// @ts-check
/** What is wrong with a run that was refused, said at each field; a closed drawer opens for it. */
import { element, findAll, isShown } from "./element.js";
import { inputOf, onValue, openAdvanced, whenShown } from "./gradio.js";
import { listen } from "./page_state.js";
import { refuse } from "./stack.js";

const INVALID = "[aria-invalid=true][aria-describedby$='-problem']";

/** @param {Element} input */
function forget(input) {
  document.getElementById(input.getAttribute("aria-describedby") ?? "")?.remove();
  input.removeAttribute("aria-invalid");
  input.removeAttribute("aria-describedby");
  describe();
}

/** Prompts are described by how many tokens they take, while nothing is wrong with them. */
function describe() {
  for (const field of ["prompt", "negative"]) {
    const input = inputOf(field);
    if (!input?.hasAttribute("aria-describedby")) input?.setAttribute("aria-describedby", `${field}-tokens`);
  }
}

/** @param {Record<string, string>} problems field -> words */
function say(problems) {
  findAll(INVALID).forEach(forget);
  let first = null;
  for (const [field, words] of Object.entries(problems)) {
    const input = inputOf(field);
    if (!input) continue;
    const id = `${field}-problem`;
    document.getElementById(field)?.append(element("p", { class: "nw-problem", id, role: "alert" }, words));
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", id);
    first ??= input;
  }
  first?.focus();
}

/** @param {Record<string, string>} all */
async function sort(all) {
  const isOfMethods = (/** @type {string} */ field) => field.startsWith("methods");
  const ofMethods = Object.entries(all).filter(([field]) => isOfMethods(field));
  const others = Object.entries(all).filter(([field]) => !isOfMethods(field));
  if (ofMethods.length) refuse(Object.fromEntries(ofMethods));
  const fields = others.map(([field]) => field);
  if (fields.some((field) => !isShown(document.getElementById(field)))) {
    openAdvanced();
    await whenShown(fields);
  }
  say(Object.fromEntries(others));
}

document.addEventListener("input", (event) => {
  if (event.target instanceof Element && event.target.matches(INVALID)) forget(event.target);
}, true);

// a field can be wrong because of another one: with the cause goes what is said
listen("wrong", (fields) => {
  for (const input of findAll(INVALID)) {
    const field = input.getAttribute("aria-describedby")?.replace(/-problem$/, "") ?? "";
    if (!fields.includes(field)) forget(input);
  }
});

/** @param {import("./gradio.js").Component} component */
export function mount(component) {
  onValue(component, (value) => void sort(JSON.parse(value)));
  describe();
}

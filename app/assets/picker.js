// @ts-check
/** The list of all methods: the nine families of the survey, then the methods of one, with what each does, needs and costs. */
import { actButton, element, find, need } from "./element.js";
import { matches } from "./format.js";
import { addDialog } from "./gradio.js";
import { catalogue, listen, page } from "./page_state.js";
import { addToStack, askForExample, familyGlyph, isInStack, mountStack, paperLink } from "./stack.js";

/** @import { Family, Method } from "./server.d.ts" */

const STEP = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 });
/** @type {HTMLDialogElement | null} */
let dialog = null;
let chosen = ""; // the family
let typed = "";

const filled = () => catalogue().families.filter((family) => family.methods.length > 0);

/** @param {Method} method */
function entry(method) {
  const lacks = page.offers && method.need_keys.some((key) => !page.offers?.includes(key));
  const facts = [method.cost, ...method.needs.map((what) => `needs ${what}`)].join(" · ");
  const isThere = isInStack(method.name);
  const go = (/** @type {string} */ words, /** @type {() => void} */ act, /** @type {string} */ look, disabled = false) =>
    actButton(words, () => { dialog?.close(); act(); }, { class: `nw-act ${look}`, "aria-label": `${words}: ${method.title}`, disabled });
  const tools = () => element("div", { class: "nw-tools" },
    go(isThere ? "In the stack" : "Add", () => addToStack(method.name), "nw-add", isThere),
    go("Try an example", () => askForExample(method.name, true), "nw-try"));
  return element("li", { class: "nw-entry", "data-method": method.name },
    element("h3", {}, familyGlyph(method.family), method.title, element("span", { class: "nw-quiet" }, method.task)),
    element("p", {}, method.summary),
    element("p", { class: "nw-quiet" }, facts, ". ", paperLink(method)),
    lacks && element("p", { class: "nw-note nw-warn" }, `Does not run on ${page.model}. An example brings a model that fits, where there is one.`),
    method.fixed ? element("p", { class: "nw-quiet" }, "Part of every run: set by CFG Scale.") : tools());
}

function panel() {
  const methods = Object.values(catalogue().methods);
  const words = (/** @type {Method} */ one) => `${one.title} ${one.name} ${one.task} ${one.summary}`;
  const listed = methods.filter((one) => (typed ? matches(typed, words(one)) : one.family === chosen));
  const family = catalogue().families.find((one) => one.key === chosen);
  const name = typed ? { "aria-label": "Methods found" } : { "aria-labelledby": `picker-${chosen}` };
  return element("section", { id: "picker-panel", role: "tabpanel", ...name },
    typed ? element("p", { class: "nw-quiet" }, `${listed.length} of ${methods.length} methods`)
      : element("p", { class: "nw-quiet nw-family-words" }, family?.summary),
    element("ul", {}, ...listed.map(entry)));
}

/** @param {Family} family */
function tab({ key, name, methods }) {
  return element("button", {
    type: "button", role: "tab", id: `picker-${key}`, class: "nw-family", "aria-selected": String(!typed && key === chosen),
    "aria-controls": "picker-panel", tabindex: key === chosen ? 0 : -1, disabled: !methods.length, onclick: () => choose(key),
  }, familyGlyph(key), element("span", {}, name), element("span", { class: "nw-mono nw-quiet" }, methods.length ? String(methods.length) : "coming"));
}

/** @param {string} key */
function choose(key) {
  if (!dialog) return;
  [chosen, typed] = [key, ""];
  /** @type {HTMLInputElement} */ (need("input", dialog)).value = "";
  draw();
  find(`#picker-${key}`, dialog)?.focus();
}

/** Also while it is open, when the stack changes: the focus stays where it was. */
function draw() {
  if (!dialog) return;
  const focused = dialog.contains(document.activeElement) ? document.activeElement : null;
  const family = focused?.closest("[role=tab]")?.id;
  const method = /** @type {HTMLElement | null | undefined} */ (focused?.closest("[data-method]"))?.dataset.method;
  const tabs = element("div", { class: "nw-families", role: "tablist", "aria-orientation": "vertical", "aria-label": "Families of methods" });
  const { families } = catalogue();
  for (const group of new Set(families.map((one) => one.group))) {
    tabs.append(element("p", { role: "presentation" }, group), ...families.filter((one) => one.group === group).map(tab));
  }
  need(".nw-picker-body", dialog).replaceChildren(tabs, panel());
  if (family) find(`#${family}`, dialog)?.focus();
  if (method) find(`[data-method="${method}"] button`, dialog)?.focus();
}

function made() {
  chosen = (filled()[0] ?? catalogue().families[0]).key;
  const search = element("input", {
    type: "search", placeholder: "Search", "aria-label": "Search methods",
    oninput: () => { typed = search.value.trim(); draw(); },
  });
  const made = element("dialog", { class: "nw-picker", "aria-label": "Add a method" },
    element("div", { class: "nw-picker-head" }, element("h2", {}, "Add a method"), search, actButton("Close", () => made.close())),
    element("div", { class: "nw-picker-body" }));
  made.addEventListener("click", (event) => { if (event.target === made) made.close(); }); // beside it
  made.addEventListener("keydown", (event) => {
    const by = STEP[event.key];
    if (!by || !(event.target instanceof Element) || !event.target.matches("[role=tab]")) return;
    event.preventDefault();
    event.stopPropagation();
    const keys = filled().map((one) => one.key);
    choose(keys[(keys.indexOf(chosen) + by + keys.length) % keys.length]);
  });
  addDialog(made);
  return made;
}

function open() {
  dialog ??= made();
  draw();
  dialog.showModal();
  find(`#picker-${chosen}`, dialog)?.focus();
}
listen("stack", () => { if (dialog?.open) draw(); });

/** The cards, with this list behind their button. @param {import("./gradio.js").Component} component */
export function mount(component) {
  mountStack(component, open);
}

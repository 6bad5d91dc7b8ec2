// @ts-check
/** The list of all methods: tasks in a user's words, the nine families of the survey, a search; of each method what it does, needs and costs. */
import { actButton, around, element, find, findAll, need, serverMarkup } from "./element.js";
import { addToPage } from "./gradio.js";
import { searchMethods } from "./method_search.js";
import { catalogue, listen, page } from "./page_state.js";
import { addToStack, askForExample, familyGlyph, isInStack, mountStack, paperLink } from "./stack.js";

/** @import { Family, Method } from "./server.d.ts" */

const STEP = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 });
const TASKS = "tasks"; // the first of the tabs; the others are families
/** @type {HTMLDialogElement | null} */
let dialog = null;
let chosen = TASKS; // the tab
let task = ""; // of the tab of tasks: the one whose methods are listed
let typed = "";

const tabs = () => [TASKS, ...catalogue().families.filter((family) => family.methods.length > 0).map((one) => one.key)];

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

/** @param {string[]} names */
const methodsOf = (names) => names.map((name) => catalogue().methods[name]).filter((one) => one !== undefined);

/**
 * @param {Method[]} methods
 * @param {...import("./element.js").Child} head
 */
const list = (methods, ...head) => [...head, element("ul", {}, ...methods.map(entry))];

/** What a search found, in the order of how well it answers. */
function results() {
  const { methods, signpost } = searchMethods(typed, catalogue(), page.offers);
  const count = methods.length ? `${methods.length} of ${Object.keys(catalogue().methods).length} methods` : "No method answers to these words.";
  return list(methods, element("p", { class: "nw-quiet", role: "status" }, count),
    signpost && element("p", { class: "nw-note nw-signpost" }, signpost.says),
    !methods.length && !signpost && element("p", {}, "Try a task, as “restore”, “mask” or “depth”, or look through the tasks. ",
      actButton("All tasks", () => choose(TASKS))));
}

/** The tasks, or the methods of one. */
function tasks() {
  const one = catalogue().tasks.find(({ key }) => key === task);
  if (!one) return [serverMarkup(catalogue().tiles)];
  return list(methodsOf(one.methods), element("div", { class: "nw-picker-task" },
    element("h3", { tabindex: -1 }, one.title), actButton("All tasks", () => choose(TASKS))), element("p", { class: "nw-quiet" }, `${one.summary}.`));
}

function panel() {
  const family = catalogue().families.find((one) => one.key === chosen);
  const name = typed ? { "aria-label": "Methods found" } : { "aria-labelledby": `picker-${chosen}` };
  return element("section", { id: "picker-panel", role: "tabpanel", ...name }, ...(typed ? results()
    : family ? list(methodsOf(family.methods), element("p", { class: "nw-quiet nw-family-words" }, family.summary)) : tasks()));
}

/**
 * @param {string} key
 * @param {...import("./element.js").Child} inside
 */
function tabButton(key, ...inside) {
  return element("button", {
    type: "button", role: "tab", id: `picker-${key}`, class: "nw-family", "aria-selected": String(!typed && key === chosen),
    "aria-controls": "picker-panel", tabindex: key === chosen ? 0 : -1, disabled: !tabs().includes(key), onclick: () => choose(key),
  }, ...inside);
}

/** @param {Family} family */
function tab({ key, name, methods }) {
  return tabButton(key, familyGlyph(key), element("span", {}, name),
    element("span", { class: "nw-mono nw-quiet" }, methods.length ? String(methods.length) : "coming"));
}

const search = () => /** @type {HTMLInputElement} */ (need("input", dialog ?? document));

/** @param {string} key of a tab */
function choose(key) {
  [chosen, task, typed] = [key, "", ""];
  search().value = "";
  draw();
  find(`#picker-${key}`, dialog ?? document)?.focus();
}

/** Also while it is open, when the stack changes: the focus stays where it was. */
function draw() {
  if (!dialog) return;
  const focused = dialog.contains(document.activeElement) ? document.activeElement : null;
  const kept = focused?.closest("[role=tab]")?.id;
  const method = /** @type {HTMLElement | null | undefined} */ (focused?.closest("[data-method]"))?.dataset.method;
  const tile = /** @type {HTMLElement | null | undefined} */ (focused?.closest("[data-task]"))?.dataset.task;
  const column = element("div", { class: "nw-families", role: "tablist", "aria-orientation": "vertical", "aria-label": "Methods by" },
    tabButton(TASKS, element("span", {}, "By task")));
  const { families } = catalogue();
  for (const group of new Set(families.map((one) => one.group))) {
    column.append(element("p", { role: "presentation" }, group), ...families.filter((one) => one.group === group).map(tab));
  }
  need(".nw-picker-body", dialog).replaceChildren(column, panel());
  if (kept) find(`#${kept}`, dialog)?.focus();
  if (method) find(`[data-method="${method}"] button`, dialog)?.focus();
  if (tile) find(`[data-task="${tile}"]`, dialog)?.focus();
}

/** @param {string} key of a task */
function openTask(key) {
  task = key;
  draw();
  find(".nw-picker-task h3", dialog ?? document)?.focus();
}

/**
 * The tile above or below: of the next row the one whose middle is nearest, as a tile may be as wide as two.
 * @param {HTMLElement} from
 * @param {HTMLElement[]} tiles
 * @param {number} by 1 is down
 */
function inNextRow(from, tiles, by) {
  const start = from.getBoundingClientRect();
  const off = (/** @type {HTMLElement} */ tile) => {
    const box = tile.getBoundingClientRect();
    return { tile, down: by * (box.top - start.top), aside: Math.abs(box.left + box.width / 2 - start.left - start.width / 2) };
  };
  return tiles.map(off).filter(({ down }) => down > 2).sort((a, b) => a.down - b.down || a.aside - b.aside)[0]?.tile;
}

/**
 * Arrows: along the tabs, among the tiles, and from the search field into what was found.
 * @param {KeyboardEvent} event
 */
function walk(event) {
  const by = STEP[event.key], from = event.target;
  if (!dialog || !(from instanceof HTMLElement)) return;
  const go = (/** @type {HTMLElement | null | undefined} */ to) => {
    event.preventDefault();
    event.stopPropagation();
    to?.focus();
  };
  if (from === search()) {
    const into = event.key === "ArrowDown" || (event.key === "Enter" && typed !== "");
    if (into) go(find("#picker-panel :is(.nw-tile, .nw-add:not(:disabled), .nw-act)", dialog));
  } else if (by && from.matches("[role=tab]")) {
    const keys = tabs();
    go(null);
    choose(keys[(keys.indexOf(chosen) + by + keys.length) % keys.length]);
  } else if (by && from.matches(".nw-tile")) {
    const tiles = findAll(".nw-tile", dialog), isAlong = event.key.endsWith("Left") || event.key.endsWith("Right");
    const to = isAlong ? tiles[tiles.indexOf(from) + by] : inNextRow(from, tiles, by);
    go(to ?? (by < 0 && event.key === "ArrowUp" ? search() : from));
  } else if (event.key === "Backspace" && task && !typed) {
    go(null);
    choose(TASKS);
  }
}

function made() {
  const field = element("input", {
    type: "search", placeholder: "inpaint, depth, img2img, blur …", "aria-label": "Search methods", autofocus: true,
    oninput: () => { typed = field.value.trim(); draw(); },
  });
  const made = element("dialog", { class: "nw-picker", "aria-label": "Add a method" },
    element("div", { class: "nw-picker-head" }, element("h2", {}, "Add a method"), field, actButton("Close", () => made.close())),
    element("div", { class: "nw-picker-body" }));
  made.addEventListener("click", (event) => {
    const tile = around(event, "[data-task]");
    if (tile) openTask(tile.dataset.task ?? "");
    if (event.target === made) made.close(); // beside it
  });
  made.addEventListener("keydown", walk);
  addToPage(made);
  return made;
}

function open() {
  dialog ??= made();
  [chosen, task, typed] = [TASKS, "", ""];
  search().value = "";
  draw();
  dialog.showModal();
  search().focus();
}
listen("stack", () => { if (dialog?.open) draw(); });

/** The cards, with this list behind their button. @param {import("./gradio.js").Component} component */
export function mount(component) {
  mountStack(component, open);
}

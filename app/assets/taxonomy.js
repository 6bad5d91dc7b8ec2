// @ts-check
/** Taxonomy: which panel is shown, which entries of it, and the way from an entry to the method that runs it. */
import { around, find, findAll, need } from "./element.js";
import { matches } from "./format.js";
import { afterDrawing } from "./gradio.js";

/** @import { Component } from "./gradio.js" */

/** @type {Component | null} */
let component = null; // of the panels
let chosen = ""; // "" for all nine, a family, or task:<task>

const panels = () => component?.element ?? document.createElement("div"); // nothing is in it until they are there
const panelOf = (/** @type {string} */ key) => find(`.nw-t-panel[data-panel="${CSS.escape(key)}"]`, panels());

/** Marks in the tree and the list what is chosen, and what takes part in a chosen task. */
function markFamilies() {
  const parts = panelOf(chosen)?.dataset.does?.split(" ");
  for (const one of findAll("#taxonomy [data-family]")) {
    const key = one.dataset.family ?? "";
    one.setAttribute("aria-pressed", String(key === chosen));
    if (!one.closest("#taxonomy-tree")) continue;
    one.toggleAttribute("data-out", parts !== undefined && !parts.includes(key));
    one.toggleAttribute("data-in", parts !== undefined && parts.includes(key));
  }
  const task = find("#taxonomy-task");
  if (task instanceof HTMLSelectElement) task.value = chosen.startsWith("task:") ? chosen : "";
}

/**
 * @param {string} key
 * @param {boolean} [look] whether its head comes into view
 */
function show(key, look = true) {
  chosen = key;
  const panel = panelOf(key), shown = panel ?? panelOf("");
  findAll(".nw-t-panel", panels()).forEach((one) => { one.hidden = one !== shown; });
  const waiting = find(".nw-t-waiting", panels());
  if (waiting) waiting.hidden = panel !== null;
  markFamilies();
  if (!look || !panel) return;
  const head = need("h2", panel), box = head.getBoundingClientRect();
  if (box.top >= 0 && box.bottom <= innerHeight * 0.7) return; // else stacked under the tree, or scrolled away
  head.focus({ preventScroll: true });
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  head.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

/** The row of a method, wherever it stands. @param {string} name */
function openMethod(name) {
  const row = find(`[data-way="${CSS.escape(name)}"]`, panels());
  if (!(row instanceof HTMLDetailsElement)) return;
  show(/** @type {HTMLElement | null} */ (row.closest(".nw-t-panel"))?.dataset.panel ?? "", false);
  row.open = true;
  need("summary", row).focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

/** Only the entries of the chosen status that have all the words typed. @param {HTMLElement} list */
function filterEntries(list) {
  const typed = /** @type {HTMLInputElement} */ (need("input[type=search]", list)).value;
  const status = need("[data-show][aria-pressed=true]", list).dataset.show;
  const all = findAll(".nw-t-entry", list);
  for (const one of all) {
    one.hidden = Boolean(status && one.dataset.status !== status) || !matches(typed, one.dataset.words ?? "");
  }
  findAll(".nw-t-group", list).forEach((group) => { group.hidden = !find(".nw-t-entry:not([hidden])", group); });
  const left = all.filter((one) => !one.hidden).length;
  need(".nw-t-found", list).textContent = left === all.length ? `${all.length} entries` : `${left} of ${all.length} entries`;
}

/** @param {HTMLElement} button */
function filterByStatus(button) {
  findAll("[data-show]", button.parentElement ?? button).forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
  filterEntries(/** @type {HTMLElement} */ (button.closest(".nw-t-entries")));
}

/** @type {[string, (hit: HTMLElement) => void][]} */
const CLICKS = [
  ["[data-family]", (hit) => show(hit.dataset.family ?? "")],
  ["[data-panel-of]", (hit) => show(hit.dataset.panelOf ?? "")],
  ["[data-way-of]", (hit) => openMethod(hit.dataset.wayOf ?? "")],
  ["[data-try]", (hit) => component?.trigger("attempt", { name: hit.dataset.try, alone: true })],
  ["[data-network]", (hit) => component?.trigger("attempt", { network: hit.dataset.network })],
  ["[data-show]", filterByStatus],
];

/** @param {Event} event */
function act(event) {
  for (const [selector, reaction] of CLICKS) {
    const hit = around(event, `#taxonomy ${selector}`);
    if (hit) { reaction(hit); return; }
  }
}

document.addEventListener("click", act);
document.addEventListener("input", (event) => {
  const list = around(event, ".nw-t-entries");
  if (list) filterEntries(list);
});
document.addEventListener("change", ({ target }) => {
  if (target instanceof HTMLSelectElement && target.id === "taxonomy-task") show(target.value);
});
document.addEventListener("keydown", (event) => {
  const family = around(event, ".nw-t-family"); // SVG has no buttons of its own
  if (!family) return;
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Enter" || event.key === " ") act(event);
  else if (by) {
    const all = findAll(".nw-t-family");
    all[Math.min(Math.max(all.indexOf(family) + by, 0), all.length - 1)].focus();
  } else return;
  event.preventDefault();
});

/** @param {Component} mounted */
export function mount(mounted) {
  component = mounted;
  const showAgain = () => { if (find("#taxonomy")) show(chosen, false); };
  afterDrawing(mounted, showAgain); // the panels have come
  showAgain();
}

// @ts-check
/** History: the image in view among the cards, several of them selected, and what is done with them. */
import { around, find, findAll, isShown, need } from "./element.js";
import { saveImages } from "./file_link.js";
import { between, selectedWords } from "./format.js";
import { afterDrawing, press } from "./gradio.js";

/** @import { Component } from "./gradio.js" */

const MOST = 400; // images of one zip, as on the server

/** @type {Component | null} */
let component = null; // of the cards
/** @type {Map<string, string>} id -> address of the selected ones, on whatever page */
const selected = new Map();
let current = ""; // id of the image in view
let last = ""; // id of the card that was ticked last: Shift selects from there
/** @type {{ open?: number, show?: string, focus?: string }} what is to be done once the cards have come */
let then = {};

const grid = () => component?.element ?? document.createElement("div"); // nothing is in it before
const cards = () => findAll(".nw-card", grid());
const idOf = (/** @type {HTMLElement} */ card) => card.dataset.id ?? "";
const place = () => cards().findIndex((card) => idOf(card) === current);

/** The cards and the bar above them say what is in view and what is selected. */
function mark() {
  for (const card of cards()) {
    card.toggleAttribute("aria-current", idOf(card) === current);
    if (idOf(card) === current) card.setAttribute("aria-current", "true");
  }
  let here = 0;
  for (const box of /** @type {HTMLInputElement[]} */ (findAll("[data-tick]", grid()))) {
    box.checked = selected.has(box.dataset.tick ?? "");
    here += Number(box.checked);
  }
  grid().toggleAttribute("data-selecting", selected.size > 0);
  const bar = find(".nw-several", grid());
  if (!bar) return;
  bar.hidden = selected.size === 0;
  need(".nw-status", bar).textContent = selectedWords(selected.size, here);
}

/** @param {HTMLElement} card */
function open(card) {
  current = idOf(card);
  mark();
  component?.trigger("open", { id: current });
}

/** @param {string} id @param {boolean} on @param {boolean} all from the last one to this */
function tick(id, on, all) {
  const ids = all ? between(cards().map(idOf), last, id) : [id];
  for (const card of cards()) {
    if (!ids.includes(idOf(card))) continue;
    if (on) selected.set(idOf(card), card.dataset.source ?? "");
    else selected.delete(idOf(card));
  }
  last = id;
  mark();
}

/** Deletes these; the next image comes into view where the one in view is among them. @param {string[]} ids */
function remove(ids) {
  then = { open: ids.includes(current) ? place() : undefined, focus: ids.includes(current) ? undefined : "[data-undo]" };
  ids.forEach((id) => selected.delete(id));
  component?.trigger("remove", { ids: ids.join(" ") });
}

/** The selected images in one file. */
async function download() {
  const bar = need(".nw-several .nw-status", grid());
  if (selected.size > MOST) { bar.textContent = `${selected.size} are selected; one zip takes ${MOST} at most.`; return; }
  const trouble = await saveImages("pictures.zip", [...selected.values()], "nine-ways.zip");
  if (trouble) bar.textContent = trouble;
}

/** @type {Record<string, () => void>} */
const SEVERAL = {
  zip: () => void download(),
  favour: () => component?.trigger("favourite", { ids: [...selected.keys()].join(" "), on: "on", shown: current }),
  unfavour: () => component?.trigger("favourite", { ids: [...selected.keys()].join(" "), on: "", shown: current }),
  remove: () => remove([...selected.keys()]),
  none: () => { selected.clear(); mark(); },
  page: () => { cards().forEach((card) => selected.set(idOf(card), card.dataset.source ?? "")); mark(); },
};

/** @param {MouseEvent} event */
function act(event) {
  const undo = around(event, "[data-undo]"), star = around(event, "[data-star]"), box = around(event, "[data-tick]");
  const several = around(event, "[data-several]")?.dataset.several ?? "", card = around(event, ".nw-card");
  if (undo) {
    then = { show: undo.dataset.undo?.split(" ")[0] };
    component?.trigger("undo", { ids: undo.dataset.undo });
  } else if (star) {
    then = { focus: `[data-star="${star.dataset.star}"]` };
    const on = star.getAttribute("aria-pressed") === "true" ? "" : "on";
    component?.trigger("favourite", { ids: star.dataset.star, on, shown: current });
  } else if (box instanceof HTMLInputElement) {
    tick(box.dataset.tick ?? "", box.checked, event.shiftKey);
  } else if (several) {
    if (several !== "none" && several !== "page") then = { focus: `[data-several="${several}"]` };
    SEVERAL[several]?.();
  } else if (card && (event.ctrlKey || event.metaKey || event.shiftKey)) {
    tick(idOf(card), event.shiftKey || !selected.has(idOf(card)), event.shiftKey);
  } else if (card) {
    open(card);
    if (innerWidth <= 860) need("#history").scrollIntoView({ behavior: "smooth" });
  }
}

/** The cards are new: what was said before is said of them, and what waited for them is done. */
function drawn() {
  const all = cards(), { open: at, show, focus } = then;
  then = {};
  if (show) current = show;
  mark();
  const next = at === undefined ? null : all[Math.min(Math.max(at < 0 ? all.length + at : at, 0), all.length - 1)];
  if (next) {
    open(next);
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  } else if (show || focus) find(focus ?? `.nw-card[data-id="${show}"]`, grid())?.focus({ preventScroll: true });
}

/** To the next card, or the one before, over the end of the page; whether there is one. @param {1 | -1} by */
function walk(by) {
  const all = cards(), at = place() + by;
  if (at < 0 || at >= all.length) {
    if (all.length && place() >= 0 && press(by > 0 ? "older" : "newer")) { then = { open: by > 0 ? 0 : -1 }; return true; }
    return false;
  }
  const inside = grid().contains(document.activeElement);
  open(all[at]);
  if (inside) all[at].focus({ preventScroll: true });
  all[at].scrollIntoView({ block: "nearest" });
  return true;
}

/** What a key does in History, where that is shown and nobody types; whether it did something. @param {KeyboardEvent} event */
export function historyKey(event) {
  if (!isShown(grid())) return false;
  const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
  if (command && key === "z") {
    const undo = find("[data-undo]", grid());
    undo?.click();
    return undo !== null;
  }
  if (command || event.altKey) return false;
  if (key === "arrowright" || key === "arrowleft") return walk(key === "arrowright" ? 1 : -1);
  if (key === "escape" && selected.size) { SEVERAL.none(); return true; }
  if (key !== "delete" || (!selected.size && place() < 0)) return false;
  remove(selected.size ? [...selected.keys()] : [current]);
  return true;
}

document.addEventListener("click", (event) => { // the button beside the image in view: the next one takes its place
  const button = around(event, "#detail [data-act=remove]");
  if (!button) return;
  selected.delete(button.dataset.id ?? "");
  then = { open: place() };
}, true);

/** @param {Component} mounted */
export function mount(mounted) {
  component = mounted;
  mounted.element.addEventListener("click", act);
  afterDrawing(mounted, drawn);
}

// @ts-check
/** The board of the tab Compare: grids of cells that fill as they are made, sorted, ranked, plotted. */
import { blindVote, forgetPair } from "./blind_vote.js";
import { comparisonGrid } from "./comparison_grid.js";
import { costPlot, ranksTable } from "./comparison_plots.js";
import { actButton, element, find, need } from "./element.js";
import { fileLink } from "./file_link.js";
import { duration } from "./format.js";
import { onValue } from "./gradio.js";
import { sideBySide } from "./side_by_side.js";

/** @import { Component } from "./gradio.js" */
/** @import { ComparisonGone, ComparisonNews, ComparisonVotes, WholeComparison } from "./server.d.ts" */

/** @type {Component | null} */
let board = null;
/** @type {WholeComparison | null} */
let open = null;
/** @type {string | null} a measure, "" for the order as given; null: nobody has chosen, see `sorting` */
let sortedBy = null;
let tab = ""; // the grid in view: its places on the axes from the third on
/** @type {string[]} */
let chosen = []; // keys of the cells A and B
/** @type {ReturnType<typeof comparisonGrid> | null} */
let grid = null;

/** @param {WholeComparison} comparison */
const measuresOf = (comparison) => Object.keys(comparison.summary?.measures ?? {});
/**
 * What the columns are sorted by: as chosen, else as given until all cells are there, and then by what their task is about.
 * @param {Pick<WholeComparison, "busy" | "condition" | "summary">} comparison
 * @param {string | null} chosen
 */
export function sorting({ busy, condition, summary }, chosen) {
  return chosen ?? (busy || !condition ? "" : Object.keys(summary?.measures ?? {})[0] ?? "");
}

/** @param {WholeComparison} comparison */
const tabsOf = (comparison) => [...new Set(comparison.cells.map((cell) => cell.place.slice(2).join(",")))];

/** @param {string} key of a cell */
function choose(key) {
  if (!open?.states[key]?.result) return;
  chosen = chosen.includes(key) ? chosen.filter((one) => one !== key) : [...chosen.slice(-1), key];
  drawChosen();
  find(".nw-side-body")?.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

/** The chosen cells large, below the row of the last one that was clicked. */
function drawChosen() {
  if (!open || !board) return;
  grid?.refresh(sorting(open, sortedBy), chosen);
  const cells = chosen.map((key) => open?.cells.find((cell) => cell.key === key)).filter((cell) => cell !== undefined);
  find(".nw-side", board.element)?.remove();
  const last = cells.at(-1);
  if (!last) return;
  grid?.rowOf(last.key)?.after(element("div", { class: "nw-side", role: "row" }, element("div", { role: "cell" }, ...sideBySide(open, cells, {
    close: () => { chosen = []; drawChosen(); },
    use: (key) => board?.trigger("use", { key }),
    follow: (key) => board?.trigger("follow", { key }),
  }))));
}

// ---- around the grid ----------------------------------------------------------------------------------------------

/** Delete asks once more; whoever looks elsewhere has not meant it. @param {FocusEvent} event */
function calmDown({ currentTarget }) {
  const button = /** @type {HTMLButtonElement} */ (currentTarget);
  delete button.dataset.sure;
  button.textContent = "Delete";
}

/** A field in place of the title: Enter keeps what is in it, Esc the title as it was. @param {string} title */
function askTitle(title) {
  if (!board) return;
  const done = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") field.replaceWith(element("h2", {}, title));
    if (event.key !== "Enter" || !field.value.trim()) return;
    board?.trigger("change", { what: "rename", title: field.value.trim() });
  };
  const field = element("input", { type: "text", class: "nw-title-field", value: title, maxlength: 200, "aria-label": "Title of the comparison", onkeydown: done });
  find(".nw-board-head h2", board.element)?.replaceWith(field);
  field.select();
}

/** @param {WholeComparison} comparison */
function heading({ prompt, title }) {
  const change = (/** @type {string} */ what, /** @type {string} */ words, more = {}) => actButton(words, (event) => {
    const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
    if (what === "rename") askTitle(title);
    else if (what === "delete" && !button.dataset.sure) { button.dataset.sure = "yes"; button.textContent = "Delete for good"; }
    else board?.trigger("change", { what });
  }, more);
  return element("header", { class: "nw-board-head" },
    element("div", {}, element("div", { class: "nw-board-title" }, element("h2", {}, title), element("span", { class: "nw-acts" },
      change("rename", "Rename"), change("copy", "Duplicate"), change("delete", "Delete", { onblur: calmDown }))), element("p", {}, prompt), element("p", { class: "nw-status", role: "status" })));
}

/** @param {WholeComparison} comparison */
export function progressWords({ count, cells, busy, seconds_left }) {
  const words = [`${count.done} of ${cells.length} cells`];
  if (count.failed) words.push(`${count.failed} failed`);
  if (busy) words.push(seconds_left === null ? "running" : `running, about ${duration(seconds_left)} left`);
  else if (count.done + count.failed < cells.length) words.push("stopped; resume to make the rest");
  return words.join(" · ");
}

/** @param {WholeComparison} comparison */
function toolsRow(comparison) {
  const { axes, exports, measures } = comparison, now = sorting(comparison, sortedBy);
  const sort = element("select", { id: "sort-by", "aria-label": "Sort columns by", onchange: () => { sortedBy = sort.value; draw(); } },
    element("option", { value: "" }, "as given"),
    ...measuresOf(comparison).map((key) => element("option", { value: key, selected: key === now }, measures[key].title)));
  const words = (/** @type {string} */ place) => place.split(",").map((at, i) => axes[i + 2].labels[Number(at)]).join(" · ");
  const tabs = tabsOf(comparison);
  return element("div", { class: "nw-board-tools" }, element("label", { for: "sort-by" }, "Sort by"), sort,
    ...(tabs.length > 1 ? tabs : []).map((place) =>
      actButton(words(place), () => { tab = place; draw(); }, { "aria-pressed": String(place === tab) })),
    element("span", { class: "nw-exports" }, fileLink(exports.png, "Image"), fileLink(exports.html, "Page"),
      fileLink(exports.csv, "CSV"), fileLink(exports.json, "Comparison file")));
}

/** @param {WholeComparison} comparison */
function panels(comparison) {
  const measure = sorting(comparison, sortedBy) || measuresOf(comparison)[0];
  const vote = blindVote(comparison, (better, worse, verdict) => board?.trigger("vote", { better, worse, verdict }));
  if (!measure) return [vote];
  const section = (/** @type {string} */ title, /** @type {Node} */ inside) =>
    element("section", { class: "nw-summary", "aria-label": title }, element("h3", {}, title), inside);
  return [
    section("Ranks", ranksTable(comparison, measure)),
    section("Fidelity against cost", element("div", { class: "nw-plots" },
      costPlot(comparison, measure, "nfe"), costPlot(comparison, measure, "seconds"))),
    vote,
  ];
}

// ---- all of it ----------------------------------------------------------------------------------------------------

function draw() {
  if (!board || !open) return;
  grid = comparisonGrid(open, { sortedBy: sorting(open, sortedBy), tab, chosen, choose });
  board.element.replaceChildren(element("div", { class: "nw-board", "data-state": "open" }, heading(open), toolsRow(open),
    element("div", { class: grid.isWide ? "nw-scroll nw-many" : "nw-scroll" }, grid.element), element("div", { class: "nw-panels" })));
  drawStatus(open);
  drawPanels(open);
  if (chosen.length) drawChosen();
}

/** @param {WholeComparison} comparison */
function drawStatus(comparison) {
  if (!board) return;
  need(".nw-status", board.element).textContent = progressWords(comparison);
  need(".nw-board", board.element).dataset.busy = String(comparison.busy);
}

/** @param {WholeComparison} comparison */
function drawPanels(comparison) {
  if (board) find(".nw-panels", board.element)?.replaceChildren(...panels(comparison));
}

/** @param {WholeComparison} comparison */
function show(comparison) {
  const isOther = comparison.id !== open?.id;
  if (isOther) { sortedBy = null; chosen = []; forgetPair(); }
  open = comparison;
  if (!tabsOf(open).includes(tab)) tab = tabsOf(open)[0] ?? "";
  draw();
  if (board && isOther && !comparison.stored && innerWidth <= 860) need("#compare-result").scrollIntoView({ behavior: "smooth" });
}

/**
 * @param {WholeComparison} comparison
 * @param {ComparisonNews} news
 */
function update(comparison, news) {
  const before = measuresOf(comparison).length, order = sorting(comparison, sortedBy);
  Object.assign(comparison.states, news.states);
  Object.assign(comparison, { busy: news.busy, seconds_left: news.seconds_left, count: news.count, summary: news.summary ?? comparison.summary });
  if (!board || !find(".nw-compared", board.element)) return;
  if (sorting(comparison, sortedBy) !== order) { draw(); return; } // all cells are there: ranked
  grid?.refresh(order, chosen, Object.keys(news.states));
  drawStatus(comparison);
  if (news.summary || !news.busy) drawPanels(comparison);
  if (measuresOf(comparison).length !== before) need(".nw-board-tools", board.element).replaceWith(toolsRow(comparison));
}

/** The one that was open is deleted. */
function clear() {
  open = null;
  chosen = [];
  board?.element.replaceChildren(element("div", { class: "nw-board", "data-state": "empty" }, element("h2", {}, "Deleted"),
    element("p", {}, "Choose another comparison on the left.")));
}

/** Draws the comparison, now or as soon as there is one. @param {Component} component */
export function mountBoard(component) {
  board = component;
  if (open) draw();
}

/** What the server says of comparisons. @param {Component} component */
export function mountNews(component) {
  onValue(component, (text) => {
    /** @type {WholeComparison | ComparisonNews | ComparisonVotes | ComparisonGone} */
    const message = JSON.parse(text);
    if ("gone" in message) { if (open?.id === message.gone) clear(); }
    else if ("axes" in message) show(message);
    else if (!open || message.id !== open.id) return; // of another one that was open before
    else if ("votes" in message) { open.votes = message.votes; drawPanels(open); }
    else update(open, message);
  });
}

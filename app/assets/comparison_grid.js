// @ts-check
/** The cells of a comparison: columns of the first axis, rows of the second; what each shows of its run. */
import { element, need, serverMarkup } from "./element.js";
import { cost, measured } from "./format.js";

/** @import { CellState, CompareCell, Condition, WholeComparison } from "./server.d.ts" */

const MOST = 3; // measures at a cell
const MANY = 7; // columns that are as narrow as can be

/**
 * A cell in the words of its place.
 * @param {WholeComparison} comparison
 * @param {CompareCell} cell
 */
export function cellLabel({ axes }, cell) {
  return cell.place.map((at, axis) => axes[axis].labels[at]).join(" · ");
}

/**
 * The columns in the order of their ranks in a measure; as given where there are none.
 * @param {Pick<WholeComparison, "axes" | "summary">} comparison
 * @param {string} sortedBy
 * @returns {number[]}
 */
export function columnOrder({ axes, summary }, sortedBy) {
  const { labels } = axes[0], places = labels.map((_, i) => i);
  const ranks = summary?.measures[sortedBy]?.ranks;
  if (!ranks) return places;
  const rank = (/** @type {number} */ i) => {
    const at = ranks.findIndex((one) => one.label === labels[i]);
    return at < 0 ? ranks.length : at;
  };
  return places.sort((a, b) => rank(a) - rank(b) || a - b);
}

/** For screen readers: a header of a table is not empty. @param {string} words */
const hidden = (words) => element("span", { class: "nw-hidden" }, words);

/**
 * The measures that a cell shows: the one that the columns are sorted by, and those that say most of the task.
 * @param {Record<string, number>} figures
 * @param {readonly string[]} order of all measures
 * @param {string} sortedBy
 */
export function measuresAtCell(figures, order, sortedBy) {
  return [...new Set([sortedBy, ...order, ...Object.keys(figures)])].filter((key) => key in figures).slice(0, MOST);
}

/**
 * What stands under the image of a cell.
 * @param {CellState} state
 * @param {WholeComparison} comparison
 * @param {string} sortedBy comes first, also where the cell lacks it
 */
function lines(state, { measures, summary }, sortedBy) {
  const line = (/** @type {string} */ words, /** @type {Record<string, string>} */ look = {}) => element("span", look, words);
  if (state.result) {
    const { figures } = state.result;
    const shown = measuresAtCell(figures, Object.keys(summary?.measures ?? {}), sortedBy).map((key) => element("span", { title: measures[key].of },
      `${measures[key].title} `, element("b", { class: "nw-mono" }, measured(measures[key], figures[key]))));
    const gap = sortedBy && !(sortedBy in figures) ? [line("")] : [];
    const { seen } = state.result;
    return [...gap, ...shown, line(cost(state.result), { class: "nw-mono nw-cost" }),
      ...(seen ? [line(seen, { class: "nw-seen", title: seen })] : [])];
  }
  if (state.reason) return [line(state.reason, { class: "nw-error" })];
  if (state.status === "running") return [line(`${state.first ? `${state.first}: ` : "Step "}${state.step ?? 0} of ${state.steps || "?"}`)];
  return [line(state.status === "cancelled" ? "Cancelled" : "Waiting")];
}

/**
 * @param {HTMLElement} figure
 * @param {WholeComparison} comparison
 * @param {CompareCell} cell
 * @param {string} sortedBy
 * @param {readonly string[]} chosen
 */
function fill(figure, comparison, cell, sortedBy, chosen) {
  /** @type {CellState} */
  const state = comparison.states[cell.key] ?? { status: "waiting" };
  const image = /** @type {HTMLImageElement} */ (need("img", figure)), bar = need(".nw-bar", figure);
  figure.dataset.status = state.status;
  if (!state.image) image.removeAttribute("src");
  else if (image.getAttribute("src") !== state.image) image.src = state.image;
  image.alt = state.status === "done" ? cellLabel(comparison, cell) : "";
  bar.hidden = state.status !== "running";
  need("span", bar).style.width = `${(100 * (state.step ?? 0)) / Math.max(state.steps ?? 1, 1)}%`;
  need("figcaption", figure).replaceChildren(...lines(state, comparison, sortedBy));
  const side = chosen.indexOf(cell.key);
  figure.dataset.side = side < 0 ? "" : "AB"[side];
  need("button", figure).setAttribute("aria-pressed", String(side >= 0));
}

/**
 * @param {WholeComparison} comparison
 * @param {Condition} condition
 * @param {number} aspect
 */
export function conditionImage({ given }, { label, image, words }, aspect) {
  return element("figure", { class: "nw-condition" },
    element("img", { alt: label, src: given[image], style: `aspect-ratio:${aspect}`, loading: "lazy" }),
    element("figcaption", {}, words));
}

/**
 * @param {WholeComparison} comparison
 * @param {object} view
 * @param {string} view.sortedBy
 * @param {string} view.tab the places of the grid on the axes from the third on
 * @param {readonly string[]} view.chosen keys
 * @param {(key: string) => void} view.choose
 */
export function comparisonGrid(comparison, { sortedBy, tab, chosen, choose }) {
  const { axes, cells, condition, glyphs, title, without_condition } = comparison;
  /** @type {{ figure: HTMLElement, cell: CompareCell }[]} one for each place: cells of one key may stand at several */
  const drawn = [];
  const order = columnOrder(comparison, sortedBy);
  const drawnCell = (/** @type {CompareCell} */ cell) => {
    const figure = element("figure", { class: "nw-cell" },
      element("button", {
        type: "button", class: "nw-cell-image", style: `aspect-ratio:${cell.aspect}`, "aria-pressed": "false",
        title: "Compare with slider", onclick: () => choose(cell.key),
      }, element("img", { alt: "", loading: "lazy" }), element("span", { class: "nw-bar", hidden: true }, element("span"))),
      element("figcaption"));
    fill(figure, comparison, cell, sortedBy, chosen);
    drawn.push({ figure, cell });
    return figure;
  };
  const at = (/** @type {number} */ column, /** @type {number} */ row) => cells.find(({ place }) =>
    place[0] === column && (place[1] ?? 0) === row && place.slice(2).join(",") === tab);
  const rowLabels = axes[1]?.labels ?? [""];
  const given = rowLabels.map((_, row) => at(0, row)?.conditions ?? []);
  const most = given.reduce((best, row) => (row.length > best.length ? row : best), []);
  const head = element("div", { class: "nw-compared-row nw-heads", role: "row" }, element("span", { role: "columnheader" }, hidden("Row")),
    ...most.map(({ label }) => element("div", { role: "columnheader", class: "nw-quiet" }, label)),
    ...order.map((i) => element("div", { role: "columnheader" }, element("span", {}, serverMarkup(glyphs[i]), axes[0].labels[i],
      without_condition.includes(i) && element("small", { class: "nw-quiet" }, `without ${condition}`)))));
  const rows = rowLabels.map((label, row) => element("div", { class: "nw-compared-row", role: "row" },
    element("span", { role: "rowheader" }, label || hidden("All")),
    ...most.map((_, i) => element("div", { role: "cell" }, given[row][i] && conditionImage(comparison, given[row][i], at(0, row)?.aspect ?? 1))),
    ...order.map((column) => {
      const cell = at(column, row);
      return element("div", { role: "cell" }, cell && drawnCell(cell));
    })));
  return {
    element: element("div", {
      class: "nw-compared", role: "table", "aria-label": title, "data-given": most.length > 0,
      style: `--columns:${order.length + most.length};--given:${most.length};--made:${order.length}`,
    }, head, ...rows),
    isWide: order.length + most.length >= MANY,
    /** @type {(sortedBy: string, chosen: readonly string[], keys?: readonly string[]) => void} keys: only these cells */
    refresh: (by, now, keys) => drawn.filter(({ cell }) => keys?.includes(cell.key) ?? true)
      .forEach(({ figure, cell }) => fill(figure, comparison, cell, by, now)),
    /** The row in which a cell stands, null where it is in another grid. @type {(key: string) => HTMLElement | null} */
    rowOf: (key) => drawn.find(({ cell }) => cell.key === key)?.figure.closest(".nw-compared-row") ?? null,
  };
}

// @ts-check
/** The columns of a comparison in one measure: ranked with intervals, and against their cost with the Pareto front. */
import { element, svg } from "./element.js";
import { measured } from "./format.js";
import { pathThrough, rangeOf, scale } from "./geometry.js";
import { framed, isNarrow, tick } from "./plot.js";
import { placedLabels } from "./plot_labels.js";

/** @import { Edges } from "./geometry.js" */
/** @import { Dot } from "./plot_labels.js" */
/** @import { Rank, WholeComparison } from "./server.d.ts" */

/**
 * @param {WholeComparison} comparison
 * @param {string} key of the measure
 */
export function ranksTable({ condition, measures, summary }, key) {
  const { ranks, unranked } = /** @type {NonNullable<typeof summary>} */ (summary).measures[key], measure = measures[key];
  const ends = [...ranks, ...unranked].flatMap((rank) => [rank.low ?? rank.mean, rank.high ?? rank.mean]);
  const range = measure.unit === "%" ? /** @type {[number, number]} */ ([0, 100]) : rangeOf(ends);
  const x = scale(range, [4, 96]);
  const row = (/** @type {Rank} */ { label, mean, low, high }, /** @type {string} */ place) => {
    const isInterval = low !== null && high !== null;
    const plot = svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      isInterval && svg("line", { x1: x(low), x2: x(high), y1: 5, y2: 5, class: "nw-interval" }),
      svg("line", { x1: x(mean), x2: x(mean), y1: 1, y2: 9, class: "nw-mean" }));
    const spread = isInterval ? `${low.toFixed(measure.digits)} to ${high.toFixed(measure.digits)}` : "one cell";
    return element("tr", {}, element("td", { class: "nw-mono nw-quiet" }, place), element("th", { scope: "row" }, label), element("td", {}, plot),
      element("td", { class: "nw-mono" }, measured(measure, mean)), element("td", { class: "nw-mono nw-quiet" }, spread));
  };
  const rows = ranks.map((rank, i) => row(rank, String(i + 1)));
  if (unranked.length) {
    rows.push(element("tr", {}, element("td", { colspan: 5, class: "nw-quiet" }, `Without ${condition}, so not ranked:`)),
      ...unranked.map((rank) => row(rank, "")));
  }
  const trust = measure.trust && element("tr", {}, element("td", { colspan: 5, class: "nw-quiet" },
    `On renders this measure gives ${measured(measure, measure.trust.own)} for the very scene and ${measured(measure, measure.trust.other)} for another one.`));
  return element("table", { class: "nw-ranks" }, element("caption", {}, `${measure.title}: ${measure.better} is better`), ...rows, trust);
}

/** @type {Record<"seconds" | "nfe", { name: string, axis: string, words: (value: number) => string }>} */
const COSTS = {
  seconds: { name: "seconds", axis: "seconds a cell, without waiting", words: (value) => `${value.toFixed(1)} s` },
  nfe: { name: "network evaluations", axis: "network evaluations (NFE) a cell", words: (value) => String(Math.round(value)) },
};

const FRAME = { width: 520, height: 320, left: 48, right: 12, top: 12, bottom: 36 };
const NARROW = { ...FRAME, width: 340, height: 280 };
const MANY = 8; // points: where not all of more have room for their names, all have numbers

/**
 * @param {WholeComparison} comparison
 * @param {string} key of the measure
 * @param {"seconds" | "nfe"} by
 */
export function costPlot({ measures, summary }, key, by) {
  const all = /** @type {NonNullable<typeof summary>} */ (summary);
  const { ranks, unranked, pareto } = all.measures[key], measure = measures[key], cost = COSTS[by];
  const points = [...ranks, ...unranked]
    .map(({ label, mean }, i) => ({ label, number: i + 1, x: all.cost[by][label] ?? 0, y: mean })).filter(({ x }) => x > 0);
  if (!points.length) return element("div");
  const xs = points.map(({ x }) => x), ys = points.map(({ y }) => y);
  const [low, high] = rangeOf(xs.map(Math.log10), 0.12);
  const title = `${measure.title} against ${cost.name}`;
  const frame = isNarrow() ? NARROW : FRAME;
  const { plot, x, y } = framed(frame, title, { range: [10 ** low, 10 ** high], log: true }, { range: rangeOf(ys, 0.12) });
  const { width, height, left, bottom } = frame, floor = height - bottom;
  plot.append(svg("path", { d: `M${left} 8V${floor}H${width - 8}`, class: "nw-axis" }),
    ...rangeOf(ys).map((value) => tick(left - 6, y(value) + 4, measured(measure, value), "end")),
    ...[...new Set(rangeOf(xs))].map((value) => tick(x(value), floor + 16, cost.words(value), "middle")),
    tick(width - 8, height - 4, cost.axis, "end"));
  const front = pareto[by].map((label) => points.find((point) => point.label === label)).filter((point) => point !== undefined);
  const line = front.map((point) => ({ x: x(point.x), y: y(point.y) }));
  plot.append(svg("path", { d: pathThrough(line.map((place) => [place.x, place.y])), class: "nw-pareto" }));
  const dots = points.map((point) => ({ ...point, x: x(point.x), y: y(point.y) }));
  const labels = labelsOf(dots, { left: left + 2, right: width, top: 0, bottom: floor - 2 }, line);
  dots.forEach((dot, i) => {
    const isOn = pareto[by].includes(dot.label), label = labels[i];
    plot.append(svg("circle", { cx: dot.x, cy: dot.y, r: isOn ? 5 : 4, class: isOn ? "nw-dot-on" : "nw-dot-off" }, svg("title", {}, dot.label)));
    if (label) plot.append(tick(label.x, label.y, label.words, label.anchor, "nw-name"));
  });
  const isNumbered = dots.map(({ label }, i) => labels[i]?.words !== label);
  const beside = dots.flatMap(({ label, number }, i) => (isNumbered[i] && number > ranks.length ? [`${number}: ${label}.`] : []));
  const words = [`${title}; the line is the Pareto front.`, ...(isNumbered.some(Boolean) ? ["Numbers are places in the ranks."] : []), ...beside];
  return element("figure", {}, plot, element("figcaption", {}, words.join(" ")));
}

/**
 * Names beside the points of a few columns, numbers beside those of many.
 * @param {readonly Dot[]} dots
 * @param {Edges} within
 * @param {readonly { x: number, y: number }[]} line
 */
export function labelsOf(dots, within, line) {
  const names = placedLabels(dots, within, line);
  if (dots.length <= MANY || dots.every(({ label }, i) => names[i]?.words === label)) return names;
  return placedLabels(dots.map((dot) => ({ ...dot, label: String(dot.number) })), within, line);
}

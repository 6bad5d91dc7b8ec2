// @ts-check
/** Curves of the tab Trajectory: each figure of all runs against the steps or the noise level, with marks at the cursor. */
import { actButton, element, svg } from "./element.js";
import { short } from "./format.js";
import { nearest, pathThrough, rangeOf } from "./geometry.js";
import { framed, gridLines, inPlot, saveButtons, tick } from "./plot.js";
import { hue, stepsOf } from "./trajectory_cursor.js";

/** @import { CurveLook, Trajectories, TrajectoryRun } from "./server.d.ts" */
/** @import { Range } from "./geometry.js" */
/** @import { Cursor } from "./trajectory_cursor.js" */

const FRAME = { width: 420, height: 220, left: 56, right: 12, top: 12, bottom: 34 };
/** @type {CurveLook} */
const DISTANCE = { title: "Distance from the first run", unit: "units of the state", of: "of the denoised predictions", log: false,
  says: "How far the other runs are from the first: where a line leaves 0, the images begin to differ." };
/** @type {Map<string, boolean>} by their titles, the charts that somebody has opened or closed */
const opened = new Map();
let byNoise = false; // against the noise level, not the steps

/**
 * The noise levels of all runs as one axis, 0 (most) to 1 (none): by their logarithm, and zero at half the smallest one.
 * @param {readonly { sigmas: number[] }[]} runs
 * @returns {(sigma: number) => number}
 */
export function noiseAxis(runs) {
  const levels = runs.flatMap((run) => run.sigmas).filter((sigma) => sigma > 0);
  if (!levels.length) return () => 0;
  const [low, high] = rangeOf(levels), end = Math.log(low / 2), start = Math.log(high);
  return (sigma) => (start - (sigma > 0 ? Math.log(sigma) : end)) / (start - end);
}

/**
 * The range of a figure's axis: from zero where it is not far away, and never without width.
 * @param {readonly number[]} values at least one
 * @param {boolean} logarithmic
 * @returns {Range}
 */
export function figureRange(values, logarithmic) {
  const [least, high] = rangeOf(values);
  if (logarithmic) return high / least > 1 + 1e-12 ? [least, high] : [least / 10, high * 10];
  const low = least > 0 && least < 0.5 * high ? 0 : least;
  return high - low < 1e-12 ? [low - 1, high + 1] : [low, high];
}

/**
 * @param {Range} range
 * @param {boolean} logarithmic
 */
function ticksOf([low, high], logarithmic) {
  return [low, logarithmic ? Math.sqrt(low * high) : (low + high) / 2, high];
}

/**
 * @param {Trajectories} trajectories
 * @param {CurveLook} look
 * @param {readonly ((number | null)[] | null)[]} lines one a run
 * @param {Cursor} cursor
 */
function curvePlot({ runs }, { title, unit, of, log, says }, lines, cursor) {
  const isDrawn = (/** @type {number | null} */ value) => value !== null && (!log || value > 0);
  const values = /** @type {number[]} */ (lines.flatMap((line) => line ?? []).filter(isDrawn));
  if (values.length < 2) return null;
  const noise = noiseAxis(runs), range = figureRange(values, log);
  const along = (/** @type {TrajectoryRun} */ run, /** @type {number} */ step) => (byNoise ? noise(run.sigmas[step]) : step / stepsOf(run));
  const made = framed(FRAME, `${title}, ${unit}`, { range: [0, 1] }, { range, log }), { plot, x, y } = made;
  const { width, height, left, right, bottom } = FRAME, below = height - bottom + 16;
  const [start, end, name] = byNoise ? [`sigma ${short(Math.max(...runs.map((run) => run.sigmas[0])))}`, "0", "noise level"] : ["start", "end", "steps"];
  plot.append(...gridLines(made, FRAME, ticksOf(range, log)), tick(left, below, start), tick(width - right, below, end, "end"),
    tick((left + width - right) / 2, below, name, "middle"));
  lines.forEach((line, i) => {
    const run = runs[i];
    /** @type {Map<number, [number, number]>} step -> place */
    const places = new Map();
    line?.forEach((value, step) => { if (value !== null && isDrawn(value)) places.set(step, [x(along(run, step)), y(value)]); });
    const mark = svg("circle", { r: 3.5, style: `fill:${hue(i)}` });
    plot.append(svg("path", { d: pathThrough([...places.values()]), class: "nw-line", style: `stroke:${hue(i)}` }), mark);
    cursor.onMove(() => {
      const place = places.get(cursor.stepOf(run));
      mark.setAttribute("visibility", place ? "visible" : "hidden");
      if (place) { mark.setAttribute("cx", String(place[0])); mark.setAttribute("cy", String(place[1])); }
    });
  });
  const caption = element("figcaption");
  cursor.onMove(() => {
    const now = lines.map((line, i) => line?.[cursor.stepOf(runs[i])] ?? null);
    caption.replaceChildren(`${unit}, ${of}`, ...now.flatMap((value, i) => (value === null ? []
      : [element("span", { class: "nw-value nw-mono", style: `--run:${hue(i)}` }, short(value))])));
  });
  const point = (/** @type {PointerEvent} */ event) => {
    const [run] = runs, places = run.sigmas.map((_, step) => [x(along(run, step)), 0]);
    const near = nearest(places, inPlot(plot, event)[0], 0);
    if (near) cursor.go(near.index / stepsOf(run));
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  return element("details", { class: "nw-chart" }, element("summary", {}, title),
    element("figure", {}, element("p", {}, says), plot, caption, saveButtons(plot, title)));
}

/**
 * @param {Trajectories} trajectories
 * @param {Cursor} cursor
 * @param {() => void} drawAgain
 */
export function curvesSection(trajectories, cursor, drawAgain) {
  const { figures, runs } = trajectories;
  const axis = actButton("Against the noise level", () => { byNoise = !byNoise; drawAgain(); }, { "aria-pressed": String(byNoise) });
  const plots = Object.entries(figures).map(([key, look]) => curvePlot(trajectories, look, runs.map((run) => run.figures[key]), cursor));
  if (runs.length > 1) plots.push(curvePlot(trajectories, DISTANCE, runs.map((run) => run.apart?.x0 ?? null), cursor));
  plots.forEach((plot, i) => {
    const title = plot?.querySelector("summary")?.textContent ?? "";
    if (!(plot instanceof HTMLDetailsElement)) return;
    plot.open = opened.get(title) ?? i === 0; // the others one after the other, as they are wanted
    plot.addEventListener("toggle", () => opened.set(title, plot.open));
  });
  return element("section", { class: "nw-summary", "aria-label": "Figures" },
    element("header", {}, element("h3", {}, "Figures"), axis), element("div", { class: "nw-plots" }, ...plots));
}

// @ts-check
/** Paths of runs in the frame of their chord: turned with the pointer, and the step under it is the cursor's. */
import { actButton, element, svg } from "./element.js";
import { short } from "./format.js";
import { clamp, nearest, pathThrough, rangeOf, scale, turned } from "./geometry.js";
import { inPlot, isNarrow, saveButtons, tick } from "./plot.js";
import { hue, stepsOf } from "./trajectory_cursor.js";

/** @import { ProjectedPaths, Trajectories } from "./server.d.ts" */
/** @import { Cursor } from "./trajectory_cursor.js" */
/** @typedef {"x" | "x0"} Kind */

const EDGE = 28;
const sizes = () => (isNarrow() ? { width: 340, height: 300 } : { width: 560, height: 360 });
const SLIP = 4; // pixels that a pointer moves before it turns the paths
const NEAR = 24; // units of the plot
/** @type {[Kind, string, string][]} */
const KINDS = [
  ["x", "Sampling path", "states: along the chord, and off it"],
  ["x0", "Denoising path", "denoised predictions: along their chord, and off it"],
];
/** @type {Kind} */
let kind = "x";
/** @type {[number, number]} */
let turn = [0, 0]; // radians about the upright and the level axis

/**
 * From the paths' own coordinates, each axis with its own scale, to places in the plot.
 * @param {ProjectedPaths} paths
 */
function projection({ points }) {
  const all = points.flat(), spans = all[0].map((_, k) => rangeOf(all.map((point) => point[k])));
  const toUnit = spans.map((span) => (span[0] === span[1] ? () => -1 : scale(span, [-1, 1])));
  const size = isFlat() ? 1 : 0.62; // a turned cube needs more room
  const { width, height } = sizes();
  const x = scale([-1, 1], [width - EDGE, EDGE]), y = scale([-1, 1], [height - EDGE, EDGE]);
  /** @type {(point: readonly number[]) => [number, number]} */
  const place = (point) => {
    const [across, up] = turned(point.map((value, k) => toUnit[k](value)), turn);
    return [x(size * across), y(size * up)];
  };
  return { place, spans, width, height };
}
const isFlat = () => turn[0] === 0 && turn[1] === 0;

/**
 * The axes from their common corner, with their lengths.
 * @param {ReturnType<typeof projection>} frame
 */
function axes({ place, spans, width, height }) {
  const corner = spans.map(([low]) => low);
  return spans.flatMap((span, k) => {
    if (isFlat() && k === 2) return [];
    const from = place(corner), to = place(corner.map((low, j) => (j === k ? span[1] : low)));
    const length = short(span[1] - span[0]), words = k === 0 ? `chord, ${length} long` : `off it ${k}, ${length} wide`;
    const label = isFlat()
      ? (k === 0 ? tick(EDGE, height - 8, words) : tick(width - EDGE, 16, words, "end"))
      : tick(to[0], to[1] - 4, words, "middle");
    return [svg("path", { d: pathThrough([from, to]), class: "nw-rule" }), label];
  });
}

/**
 * @param {Trajectories} trajectories
 * @param {Cursor} cursor
 */
export function pathsSection({ paths, runs }, cursor) {
  const section = element("section", { class: "nw-summary", "aria-label": "Paths" });
  const known = KINDS.filter(([name]) => paths[name] !== null);
  if (!known.length) return section;
  if (!known.some(([name]) => name === kind)) kind = known[0][0];
  let mark = () => {}; // the runs' places at the cursor
  /** @type {{ id: number, x: number, y: number, turn: [number, number] } | null} */
  let dragged = null;

  const draw = () => {
    const [, title, what] = /** @type {[Kind, string, string]} */ (known.find(([name]) => name === kind));
    const projected = /** @type {ProjectedPaths} */ (paths[kind]), frame = projection(projected);
    const isSolid = frame.spans.length > 2;
    const plot = svg("svg", {
      viewBox: `0 0 ${frame.width} ${frame.height}`, class: "nw-scatter nw-paths", role: "img", "aria-label": `${title} of ${runs.length} runs`,
    }, ...axes(frame));
    /** @type {{ place: [number, number], run: number, step: number }[]} */
    const dots = [];
    const marks = projected.points.map((path, i) => {
      const places = path.map(frame.place), circle = svg("circle", { r: 5.5, class: "nw-here", style: `stroke:${hue(i)}` });
      plot.append(svg("path", { d: pathThrough(places), class: "nw-line", style: `stroke:${hue(i)}` }),
        ...places.map(([cx, cy]) => svg("circle", { cx, cy, r: 2, style: `fill:${hue(i)}` })), circle);
      dots.push(...places.map((place, step) => ({ place, run: i, step })));
      return { circle, places };
    });
    mark = () => marks.forEach(({ circle, places }, i) => {
      const [cx, cy] = places[Math.min(cursor.stepOf(runs[i]), places.length - 1)];
      circle.setAttribute("cx", String(cx));
      circle.setAttribute("cy", String(cy));
    });
    mark();
    const tip = tick(0, 0, "", "start", "nw-name");
    tip.setAttribute("visibility", "hidden");
    plot.append(tip);

    const pointAt = (/** @type {PointerEvent} */ event) => {
      const near = nearest(dots.map((dot) => dot.place), ...inPlot(plot, event));
      if (!near || near.distance > NEAR) { tip.setAttribute("visibility", "hidden"); return; }
      const { place: [x, y], run: i, step } = dots[near.index], run = runs[i], isRight = x > frame.width / 2;
      cursor.go(step / stepsOf(run));
      tip.textContent = `${run.label}: step ${step}, sigma ${short(run.sigmas[step])}`;
      tip.setAttribute("x", String(isRight ? x - 10 : x + 10));
      tip.setAttribute("y", String(Math.max(14, y - 10)));
      tip.setAttribute("text-anchor", isRight ? "end" : "start");
      tip.setAttribute("visibility", "visible");
    };
    plot.addEventListener("pointerdown", (event) => {
      dragged = { id: event.pointerId, x: event.clientX, y: event.clientY, turn };
      plot.setPointerCapture(event.pointerId);
    });
    plot.addEventListener("pointerup", () => { dragged = null; });
    plot.addEventListener("pointercancel", () => { dragged = null; });
    plot.addEventListener("pointermove", (event) => {
      if (!dragged || !isSolid) { pointAt(event); return; }
      const [right, down] = [event.clientX - dragged.x, event.clientY - dragged.y];
      if (Math.hypot(right, down) <= SLIP) return;
      turn = [dragged.turn[0] + right / 120, clamp(dragged.turn[1] + down / 120, -1.5, 1.5)];
      draw().setPointerCapture(dragged.id); // the new plot goes on with the pointer
    });

    const shares = projected.shares.map((share, k) => `axis ${k + 1} ${(100 * share).toFixed(0)} %`).join(", ");
    section.replaceChildren(
      element("header", {}, element("h3", {}, "Paths"),
        ...known.map(([name, words]) => actButton(words, () => { kind = name; draw(); }, { "aria-pressed": String(name === kind) })),
        isSolid && actButton("In three dimensions", () => { turn = [0.6, 0.45]; draw(); }),
        !isFlat() && actButton("From the front", () => { turn = [0, 0]; draw(); })),
      element("figure", { class: "nw-chart" }, plot,
        element("figcaption", {}, `${title}, ${what}. Each axis has its own scale. Of what is off the chord: ${shares}.${isSolid ? " Drag to turn." : ""}`),
        saveButtons(plot, title)));
    return plot;
  };
  draw();
  cursor.onMove(() => mark());
  return section;
}

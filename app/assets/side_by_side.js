// @ts-check
/** Two cells of a comparison under a slider, their difference, source and ground truth; all zoomed and moved as one. */
import { cellLabel } from "./comparison_grid.js";
import { divide } from "./divider.js";
import { actButton, around, element, need } from "./element.js";
import { measured } from "./format.js";
import { clamp } from "./geometry.js";

/** @import { CellResult, CompareCell, WholeComparison } from "./server.d.ts" */

const LARGEST = 16; // times
const STRONGER = 3; // times: differences are small
const view = { zoom: 1, x: 0, y: 0 }; // of every image of the panel; x and y in parts of its width and height

/** @param {HTMLElement} panel */
function apply(panel) {
  const most = (view.zoom - 1) / 2;
  view.x = clamp(view.x, -most, most);
  view.y = clamp(view.y, -most, most);
  panel.style.setProperty("--zoom", String(view.zoom));
  panel.style.setProperty("--x", `${100 * view.x}%`);
  panel.style.setProperty("--y", `${100 * view.y}%`);
  panel.style.setProperty("--touch", view.zoom === 1 ? "pan-y" : "none"); // nothing to move: a finger scrolls the page
}

/**
 * The wheel zooms, dragging moves.
 * @param {HTMLElement} frame
 */
function makeZoomable(frame) {
  const panel = () => /** @type {HTMLElement} */ (frame.closest(".nw-side"));
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoom = clamp(view.zoom * (event.deltaY < 0 ? 1.25 : 0.8), 1, LARGEST);
    apply(panel());
  }, { passive: false });
  frame.addEventListener("pointerdown", (event) => {
    if (around(event, ".nw-divider") || view.zoom === 1) return;
    frame.setPointerCapture(event.pointerId);
    const start = { ...view }, box = frame.getBoundingClientRect();
    const move = (/** @type {PointerEvent} */ now) => {
      view.x = start.x + (now.clientX - event.clientX) / box.width;
      view.y = start.y + (now.clientY - event.clientY) / box.height;
      apply(panel());
    };
    frame.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) {
      frame.addEventListener(end, () => frame.removeEventListener("pointermove", move), { once: true });
    }
  });
}

/**
 * @param {string} words
 * @param {number} aspect
 * @param {...Node} inside
 */
function framedImage(words, aspect, ...inside) {
  const frame = element("div", { class: "nw-frame", style: `aspect-ratio:${aspect}` }, ...inside);
  makeZoomable(frame);
  return element("figure", {}, frame, element("figcaption", {}, words));
}

/**
 * The difference of two images, made stronger, into the first; its mean over all numbers, 0..255.
 * @param {Uint8ClampedArray} a RGBA
 * @param {Uint8ClampedArray} b RGBA
 */
export function difference(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i += 1) {
    if (i % 4 === 3) continue; // opacity
    const gap = Math.abs(a[i] - b[i]);
    total += gap;
    a[i] = Math.min(255, STRONGER * gap);
  }
  return a.length ? total / (0.75 * a.length) : 0;
}

/**
 * @param {string} a address
 * @param {string} b address
 * @param {HTMLCanvasElement} canvas
 */
async function drawDifference(a, b, canvas) {
  const images = [a, b].map((src) => element("img", { src }));
  await Promise.all(images.map((image) => image.decode()));
  const { naturalWidth: width, naturalHeight: height } = images[0];
  const [one, other] = images.map((image) => {
    const ink = /** @type {CanvasRenderingContext2D} */ (element("canvas", { width, height }).getContext("2d", { willReadFrequently: true }));
    ink.drawImage(image, 0, 0, width, height);
    return ink.getImageData(0, 0, width, height);
  });
  const mean = difference(one.data, other.data);
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.putImageData(one, 0, 0);
  return mean;
}

/**
 * @param {WholeComparison} comparison
 * @param {CompareCell} a
 * @param {CompareCell} b
 */
function underSlider(comparison, a, b) {
  const [one, other] = [a, b].map((cell) => ({ label: cellLabel(comparison, cell), src: comparison.states[cell.key].image ?? "" }));
  const both = framedImage(`A ${one.label}   |   B ${other.label}`, a.aspect, element("img", { alt: `B: ${other.label}`, src: other.src }));
  divide(need(".nw-frame", both), element("img", { alt: `A: ${one.label}`, src: one.src }), { left: "A", right: "B", free: () => view.zoom === 1 });
  const canvas = element("canvas", { role: "img", "aria-label": "Difference of A and B" });
  const apart = framedImage("Difference, three times as strong", a.aspect, canvas), caption = need("figcaption", apart);
  drawDifference(one.src, other.src, canvas).then(
    (mean) => { caption.textContent = `Difference, three times as strong: ${mean.toFixed(1)} of 255 on average`; },
    () => { caption.textContent = "The difference cannot be read."; });
  return [both, apart];
}

/**
 * @param {WholeComparison} comparison
 * @param {readonly CellResult[]} results
 */
function resultsTable({ measures }, results) {
  const row = (/** @type {string} */ head, /** @type {(one: CellResult) => string} */ words, title = "") =>
    element("tr", {}, element("th", { scope: "row", title: title || null }, head), ...results.map((one) => element("td", { class: "nw-mono" }, words(one))));
  const shown = Object.entries(measures).filter(([key]) => results.some((one) => key in one.figures));
  return element("table", { class: "nw-ranks" }, element("caption", {}, "Figures"),
    ...shown.map(([key, one]) => row(one.title, ({ figures }) => (key in figures ? measured(one, figures[key]) : "-"), one.of)),
    row("Seconds", (one) => one.seconds.toFixed(1)),
    row("Network evaluations (NFE)", (one) => String(one.nfe)),
    row("Backward passes", (one) => String(one.gradients)));
}

/**
 * @param {WholeComparison} comparison
 * @param {readonly CompareCell[]} cells one or two that are done
 * @param {{ close: () => void, use: (key: string) => void, follow: (key: string) => void }} acts
 * @returns {Node[]} what goes into the panel
 */
export function sideBySide(comparison, cells, { close, use, follow }) {
  const [a, b] = cells, { given, states } = comparison;
  const results = cells.map((cell) => /** @type {CellResult} */ (states[cell.key].result));
  const whole = actButton("Whole image", () => {
    Object.assign(view, { zoom: 1, x: 0, y: 0 });
    apply(/** @type {HTMLElement} */ (whole.closest(".nw-side")));
  });
  const alone = () => [framedImage(cellLabel(comparison, a), a.aspect, element("img", { alt: cellLabel(comparison, a), src: states[a.key].image }))];
  const others = a.conditions.map(({ label, image }) => framedImage(label, a.aspect, element("img", { alt: label, src: given[image] })));
  return [
    element("header", {}, element("h3", {}, b ? "A beside B" : "A; choose another cell for B"), whole, actButton("Close", close)),
    element("div", { class: "nw-side-body" }, ...(b ? underSlider(comparison, a, b) : alone()), ...others),
    ...results.map((one, i) => element("p", { class: "nw-formula" }, `${"AB"[i]}  ${one.formula}`)),
    resultsTable(comparison, results),
    ...[...new Set(results.map((one) => one.left_out).filter(Boolean))].map((words) => element("p", { class: "nw-note" }, words)),
    element("div", { class: "nw-acts" }, ...cells.flatMap(({ key }, i) => [
      actButton(`Send ${"AB"[i]} to Create`, () => use(key)), actButton(`Send ${"AB"[i]} to Trajectory`, () => follow(key)),
    ])),
  ];
}

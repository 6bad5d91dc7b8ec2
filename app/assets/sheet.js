// @ts-check
/** A sheet of the result's shape to draw on, with an image on it as the run will get it. */
import { element } from "./element.js";
import { numberOf } from "./gradio.js";
import { clamp, placeIn } from "./geometry.js";
import { fittedAddress } from "./uploads.js";

/** @type {Record<string, [number, number]>} what is drawn by keys moves along */
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LARGEST = 2048; // pixels

/** Of the result, in pixels. */
export function sheetSize() {
  const side = (/** @type {string} */ id) => Math.round(clamp(numberOf(id, 128), 1, LARGEST)); // while something else is typed
  return { width: side("width"), height: side("height") };
}

/** @typedef {{ sha: string, fit: string }} Backdrop the hash of an image, or "", and how it is fitted */

/**
 * @param {Backdrop} backdrop
 * @param {...Node} above
 */
export function sheet(backdrop, ...above) {
  const { width, height } = sheetSize();
  return element("div", { class: "nw-sheet-draw", style: `--aspect: ${width} / ${height}` },
    backdrop.sha !== "" && element("img", { src: fittedAddress(backdrop.sha, { fit: backdrop.fit, width, height }), alt: "", draggable: "false" }), ...above);
}

/**
 * Where a pointer is on an element, as fractions.
 * @param {PointerEvent} event
 * @param {Element} on
 */
export function placeOn(event, on) {
  return placeIn(event, on.getBoundingClientRect());
}

// @ts-check
/** A sheet of the result's shape to draw on, with an image on it as the run will see it: its middle fills the sheet. */
import { element } from "./element.js";
import { numberOf } from "./gradio.js";
import { placeIn } from "./geometry.js";
import { address } from "./uploads.js";

/** Of the result, in pixels. */
export function sheetSize() {
  return { width: numberOf("width", 128), height: numberOf("height", 128) };
}

/**
 * @param {string} backdrop hash of an image, or ""
 * @param {...Node} above
 */
export function sheet(backdrop, ...above) {
  const { width, height } = sheetSize();
  return element("div", { class: "nw-sheet-draw", style: `--aspect: ${width} / ${height}` },
    backdrop !== "" && element("img", { src: address(backdrop), alt: "", draggable: "false" }), ...above);
}

/**
 * Where a pointer is on an element, as fractions.
 * @param {PointerEvent} event
 * @param {Element} on
 */
export function placeOn(event, on) {
  return placeIn(event, on.getBoundingClientRect());
}

// @ts-check
/** What the page's plots share: a frame in SVG with two scales, ticks in words, and every plot as a file. */
import { actButton, element, svg } from "./element.js";
import { fileName, short } from "./format.js";
import { save } from "./file_link.js";
import { scale } from "./geometry.js";

/** @import { Range } from "./geometry.js" */

/**
 * @typedef {object} Frame
 * @property {number} width
 * @property {number} height
 * @property {number} left the margins
 * @property {number} right
 * @property {number} top
 * @property {number} bottom
 */

/**
 * @typedef {object} Plot
 * @property {SVGSVGElement} plot
 * @property {(value: number) => number} x
 * @property {(value: number) => number} y
 */

/** Whether a plot is as narrow as a phone: then it is drawn smaller, so that its letters are as large as others. */
export const isNarrow = () => innerWidth < 600;

/**
 * @param {Frame} frame
 * @param {string} label for screen readers
 * @param {{ range: Range, log?: boolean }} across
 * @param {{ range: Range, log?: boolean }} up
 * @returns {Plot}
 */
export function framed(frame, label, across, up) {
  const { width, height, left, right, top, bottom } = frame;
  return {
    plot: svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "nw-scatter", role: "img", "aria-label": label }),
    x: scale(across.range, [left, width - right], across.log),
    y: scale(up.range, [height - bottom, top], up.log),
  };
}

/**
 * Words beside an axis.
 * @param {number} x
 * @param {number} y
 * @param {string} words
 * @param {"start" | "middle" | "end"} [anchor]
 * @param {string} [more] classes
 */
export function tick(x, y, words, anchor = "start", more = "") {
  return svg("text", { x, y, class: `nw-plot-words ${more}`.trim(), "text-anchor": anchor }, words);
}

/**
 * Hairlines at values of the upright axis, with their numbers.
 * @param {Plot} plot
 * @param {Frame} frame
 * @param {readonly number[]} values
 */
export function gridLines({ y }, frame, values) {
  return values.flatMap((value) => [
    svg("path", { d: `M${frame.left} ${y(value)}H${frame.width - frame.right}`, class: "nw-rule" }),
    tick(frame.left - 6, y(value) + 4, short(value), "end"),
  ]);
}

/**
 * Where a pointer is, in the plot's own units.
 * @param {SVGSVGElement} plot
 * @param {{ clientX: number, clientY: number }} pointer
 * @returns {[number, number]}
 */
export function inPlot(plot, pointer) {
  const box = plot.getBoundingClientRect(), { width, height } = plot.viewBox.baseVal;
  return [((pointer.clientX - box.left) / box.width) * width, ((pointer.clientY - box.top) / box.height) * height];
}

// ---- as files -----------------------------------------------------------------------------------------------------

const STYLES = ["stroke", "stroke-width", "stroke-dasharray", "fill", "font-family", "font-size", "opacity", "visibility"];

/**
 * The plot as a document: its style written into it, so that it looks the same elsewhere.
 * @param {SVGSVGElement} plot
 */
function standalone(plot) {
  const copy = /** @type {SVGSVGElement} */ (plot.cloneNode(true)), { width, height } = plot.viewBox.baseVal;
  const from = [plot, ...plot.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((one, i) => {
    const style = getComputedStyle(one);
    to[i].setAttribute("style", STYLES.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  const paper = getComputedStyle(document.body).getPropertyValue("--nw-paper").trim() || "#fff";
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  copy.prepend(svg("rect", { width, height, fill: paper }));
  return { text: new XMLSerializer().serializeToString(copy), width, height };
}

/**
 * @param {SVGSVGElement} plot
 * @param {string} name
 */
function savePng(plot, name) {
  const { text, width, height } = standalone(plot), image = new Image();
  const canvas = element("canvas", { width: 2 * width, height: 2 * height });
  image.onload = () => {
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => { if (blob) save(blob, name); });
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
}

/**
 * The buttons that save a plot.
 * @param {SVGSVGElement} plot
 * @param {string} title
 */
export function saveButtons(plot, title) {
  const asSvg = () => save(new Blob([standalone(plot).text], { type: "image/svg+xml" }), fileName(title, "svg"));
  return element("span", { class: "nw-take" },
    actButton("SVG", asSvg, { "aria-label": `${title} as SVG` }),
    actButton("PNG", () => savePng(plot, fileName(title, "png")), { "aria-label": `${title} as PNG` }));
}

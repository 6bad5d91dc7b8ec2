// @ts-check
/** Boxes and points: dragged on a sheet, or typed in per cent. */
import { actButton, element, svg } from "./element.js";
import { between, fraction, isSlip } from "./geometry.js";
import { placeOn, sheet } from "./sheet.js";

/** @import { Edges, Place } from "./geometry.js" */
/** @import { BoxValue, PointValue } from "./server.d.ts" */

/**
 * What differs between boxes and points.
 * @template Mark
 * @typedef {object} Kind
 * @property {string} word
 * @property {string} add the words of the button
 * @property {string} hint
 * @property {[keyof Mark & string, string][]} numbers the fractions of a mark, with their labels
 * @property {() => Mark} usual a mark that is added without dragging
 * @property {(from: Place, to: Place) => Mark | null} dragged null where it was a slip
 * @property {(mark: Mark, i: number) => Element[]} draw
 * @property {(mark: Mark, i: number, say: () => void) => HTMLElement | null} text
 */

/**
 * Where a rectangle is, as CSS.
 * @param {Edges} box
 */
function styleOf({ left, top, right, bottom }) {
  return `left:${100 * left}%;top:${100 * top}%;width:${100 * (right - left)}%;height:${100 * (bottom - top)}%`;
}

const number = (/** @type {number} */ i) => element("span", { class: "nw-mono" }, String(i + 1));

/** @type {Kind<BoxValue>} */
const BOX = {
  word: "Box",
  add: "Add a box",
  hint: "Drag over the sheet, or type edges in per cent.",
  numbers: [["left", "Left"], ["top", "Top"], ["right", "Right"], ["bottom", "Bottom"]],
  usual: () => ({ left: 0.25, top: 0.25, right: 0.75, bottom: 0.75, text: "" }),
  dragged: (from, to) => { const box = between(from, to); return isSlip(box) ? null : { ...box, text: "" }; },
  draw: (box, i) => [element("div", { class: "nw-box", style: styleOf(box) }, number(i))],
  text: (box, i, say) => {
    const field = element("input", {
      type: "text", value: box.text ?? "", placeholder: "What is in it", "aria-label": `Box ${i + 1}: what is in it`,
      onchange: () => { box.text = field.value; say(); },
    });
    return field;
  },
};

/** @type {Kind<PointValue>} */
const POINT = {
  word: "Point",
  add: "Add a point",
  hint: "Drag from a place to where it should go.",
  numbers: [["x", "From left"], ["y", "From top"], ["to_x", "To, left"], ["to_y", "To, top"]],
  usual: () => ({ x: 0.5, y: 0.5, to_x: null, to_y: null }),
  dragged: (from, to) => ({ ...from, to_x: to.x, to_y: to.y }),
  draw: ({ x, y, to_x: toX, to_y: toY }, i) => [
    svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none" }, svg("line", { x1: x, y1: y, x2: toX ?? x, y2: toY ?? y })),
    element("div", { class: "nw-point", style: `left:${100 * x}%;top:${100 * y}%` }, number(i)),
  ],
  text: () => null,
};

/**
 * @template {object} Mark
 * @param {Kind<Mark>} kind
 * @param {string} label
 * @param {readonly Mark[]} marks
 * @param {string} backdrop hash of the image under them, or ""
 * @param {(all: Mark[]) => void} change
 */
function placesDrawing(kind, label, marks, backdrop, change) {
  const all = marks.map((one) => ({ ...one }));
  const layer = element("div", { class: "nw-layer", "aria-hidden": "true" });
  const rows = element("ol", { class: "nw-rows" });
  const say = () => change(all.map((one) => ({ ...one })));
  const paint = () => layer.replaceChildren(...all.flatMap(kind.draw));

  /**
   * @param {Mark} mark
   * @param {number} i
   * @param {keyof Mark & string} name
   * @param {string} word
   */
  const percent = (mark, i, name, word) => {
    const now = mark[name];
    const field = element("input", {
      type: "number", min: 0, max: 100, step: 1, value: typeof now === "number" ? Math.round(100 * now) : "",
      "aria-label": `${kind.word} ${i + 1}: ${word}, per cent`,
      onchange: () => {
        Object.assign(mark, { [name]: field.value === "" ? null : fraction(Number(field.value) / 100) });
        paint();
        say();
      },
    });
    return element("label", {}, word, field);
  };
  const row = (/** @type {Mark} */ mark, /** @type {number} */ i) => element("li", {}, kind.text(mark, i, say),
    element("div", { class: "nw-numbers" }, ...kind.numbers.map(([name, word]) => percent(mark, i, name, word))),
    actButton("Remove", () => { all.splice(i, 1); list(); say(); }, { "aria-label": `Remove ${kind.word.toLowerCase()} ${i + 1}` }));
  const list = () => { paint(); rows.replaceChildren(...all.map(row)); };
  const add = (/** @type {Mark} */ mark) => {
    all.push(mark);
    list();
    say();
    rows.lastElementChild?.querySelector("input")?.focus();
  };

  const board = sheet(backdrop, layer), ghost = element("div", { class: "nw-box nw-ghost" });
  /** @type {Place | null} */
  let from = null;
  board.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    board.setPointerCapture(event.pointerId);
    from = placeOn(event, board);
    ghost.removeAttribute("style");
    layer.append(ghost);
  });
  board.addEventListener("pointermove", (event) => {
    if (from) ghost.setAttribute("style", styleOf(between(from, placeOn(event, board))));
  });
  board.addEventListener("pointercancel", () => { from = null; ghost.remove(); });
  board.addEventListener("pointerup", (event) => {
    if (!from) return;
    const mark = kind.dragged(from, placeOn(event, board));
    from = null;
    ghost.remove();
    if (mark) add(mark);
  });
  list();
  return element("div", { class: "nw-drawing", "aria-label": label, role: "group" }, board,
    element("p", { class: "nw-quiet" }, kind.hint), rows,
    element("div", { class: "nw-tools" }, actButton(kind.add, () => add(kind.usual()))));
}

/**
 * @param {string} label
 * @param {readonly BoxValue[]} boxes
 * @param {string} backdrop
 * @param {(all: BoxValue[]) => void} change
 */
export function boxesDrawing(label, boxes, backdrop, change) {
  return placesDrawing(BOX, label, boxes, backdrop, change);
}

/**
 * @param {string} label
 * @param {readonly PointValue[]} points
 * @param {string} backdrop
 * @param {(all: PointValue[]) => void} change
 */
export function pointsDrawing(label, points, backdrop, change) {
  return placesDrawing(POINT, label, points, backdrop, change);
}

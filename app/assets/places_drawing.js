// @ts-check
/** Boxes and points: dragged on a sheet, or typed in per cent. Boxes are moved and resized there, too. */
import { CURSORS, GRIPS, boxByKey, draggedBox, gripAt } from "./box_editing.js";
import { actButton, around, element, find, svg } from "./element.js";
import { between, fraction, isSlip } from "./geometry.js";
import { ARROWS, placeOn, sheet } from "./sheet.js";

/** @import { Edges, Place } from "./geometry.js" */
/** @import { Backdrop } from "./sheet.js" */
/** @import { BoxValue, PointValue } from "./server.d.ts" */

/**
 * @template Mark
 * @typedef {object} Editing
 * @property {(marks: readonly Mark[], place: Place, reach: Place, selected: number) => { index: number, grip: string } | null} at
 * @property {(mark: Mark, grip: string, from: Place, to: Place) => Partial<Mark>} dragged
 * @property {(mark: Mark, way: readonly [number, number] | undefined, resize: boolean) => Partial<Mark> | null} byKey
 */

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
 * @property {(mark: Mark, i: number, selected: boolean) => Element[]} draw
 * @property {(mark: Mark, i: number, say: () => void) => HTMLElement | null} text
 * @property {Editing<Mark> | null} editing of marks that are there; null where they are only drawn anew
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
  hint: "Drag over the sheet for a box. Drag a box to move it, its edges to resize it; with Shift, a new box begins on it.",
  numbers: [["left", "Left"], ["top", "Top"], ["right", "Right"], ["bottom", "Bottom"]],
  usual: () => ({ left: 0.25, top: 0.25, right: 0.75, bottom: 0.75, text: "" }),
  dragged: (from, to) => { const box = between(from, to); return isSlip(box) ? null : { ...box, text: "" }; },
  draw: (box, i, selected) => [element("div", {
    class: "nw-box", style: styleOf(box), tabindex: 0, role: "application", "data-place": i, "aria-current": selected && "true",
    "aria-label": `Box ${i + 1}${box.text ? `, ${box.text}` : ""}: arrow keys move it, with Shift they resize it, Delete removes it`,
  }, number(i), ...GRIPS.map((grip) => element("i", { class: "nw-grip", "data-grip": grip, hidden: !selected })))],
  text: (box, i, say) => {
    const field = element("input", {
      type: "text", value: box.text ?? "", placeholder: "What is in it", "aria-label": `Box ${i + 1}: what is in it`,
      onchange: () => { box.text = field.value; say(); },
    });
    return field;
  },
  editing: { at: gripAt, dragged: draggedBox, byKey: boxByKey },
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
  editing: null,
};

/**
 * @template {object} Mark
 * @param {Kind<Mark>} kind
 * @param {string} label
 * @param {readonly Mark[]} marks
 * @param {Backdrop} backdrop the image under them
 * @param {(all: Mark[]) => void} change
 */
function placesDrawing(kind, label, marks, backdrop, change) {
  const all = marks.map((one) => ({ ...one }));
  const layer = element("div", { class: "nw-layer" });
  const rows = element("ol", { class: "nw-rows" });
  const say = () => change(all.map((one) => ({ ...one })));
  let selected = -1;
  const paint = () => {
    const focused = layer.contains(document.activeElement);
    layer.replaceChildren(...all.flatMap((mark, i) => kind.draw(mark, i, i === selected)));
    if (focused) find(`[data-place="${selected}"]`, layer)?.focus({ preventScroll: true });
  };
  const select = (/** @type {number} */ i) => {
    selected = i;
    paint();
    find(`[data-place="${i}"]`, layer)?.focus({ preventScroll: true });
  };

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
    actButton("Remove", () => remove(i), { "aria-label": `Remove ${kind.word.toLowerCase()} ${i + 1}` }));
  const list = () => { paint(); rows.replaceChildren(...all.map(row)); };
  const remove = (/** @type {number} */ i) => {
    all.splice(i, 1);
    selected = Math.min(selected, all.length - 1);
    list();
    say();
  };
  const add = (/** @type {Mark} */ mark) => {
    all.push(mark);
    selected = all.length - 1;
    list();
    say();
    rows.lastElementChild?.querySelector("input")?.focus();
  };

  const board = sheet(backdrop, layer), ghost = element("div", { class: "nw-box nw-ghost" });
  /** @type {Place | null} */
  let from = null;
  /** @type {{ mark: Mark, grip: string, before: Mark } | null} the mark that is moved or resized */
  let held = null;
  const under = (/** @type {PointerEvent} */ event) => {
    const { width, height } = board.getBoundingClientRect(), near = event.pointerType === "touch" ? 20 : 8; // pixels
    return kind.editing && !event.shiftKey
      ? kind.editing.at(all, placeOn(event, board), { x: near / width, y: near / height }, selected) : null;
  };
  const letGo = () => { from = null; held = null; ghost.remove(); };
  board.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    board.setPointerCapture(event.pointerId);
    from = placeOn(event, board);
    const found = under(event);
    held = found && { mark: all[found.index], grip: found.grip, before: { ...all[found.index] } };
    if (found) { select(found.index); return; }
    ghost.removeAttribute("style");
    layer.append(ghost);
  });
  board.addEventListener("pointermove", (event) => {
    if (!from) board.style.cursor = CURSORS[under(event)?.grip ?? "none"] ?? "";
    else if (held) { Object.assign(held.mark, kind.editing?.dragged(held.before, held.grip, from, placeOn(event, board))); paint(); }
    else ghost.setAttribute("style", styleOf(between(from, placeOn(event, board))));
  });
  board.addEventListener("pointercancel", () => { if (held) { Object.assign(held.mark, held.before); paint(); } letGo(); });
  board.addEventListener("pointerup", (event) => {
    if (!from) return;
    const moved = held !== null && JSON.stringify(held.mark) !== JSON.stringify(held.before);
    const mark = held ? null : kind.dragged(from, placeOn(event, board));
    letGo();
    if (moved) { list(); say(); }
    if (mark) add(mark);
  });
  layer.addEventListener("focusin", (event) => {
    const i = Number(around(event, "[data-place]")?.dataset.place ?? selected);
    if (i !== selected) select(i);
  });
  layer.addEventListener("keydown", (event) => {
    const place = around(event, "[data-place]")?.dataset.place, mark = all[Number(place)];
    if (place === undefined || mark === undefined) return;
    if (event.key === "Delete" || event.key === "Backspace") {
      remove(Number(place));
      select(selected);
    } else {
      const changed = kind.editing?.byKey(mark, ARROWS[event.key], event.shiftKey);
      if (!changed) return;
      Object.assign(mark, changed);
      list();
      say();
    }
    event.preventDefault();
    event.stopPropagation();
  });
  list();
  return element("div", { class: "nw-drawing", "aria-label": label, role: "group" }, board,
    element("p", { class: "nw-quiet" }, kind.hint), rows,
    element("div", { class: "nw-tools" }, actButton(kind.add, () => add(kind.usual()))));
}

/**
 * @param {string} label
 * @param {readonly BoxValue[]} boxes
 * @param {Backdrop} backdrop
 * @param {(all: BoxValue[]) => void} change
 */
export function boxesDrawing(label, boxes, backdrop, change) {
  return placesDrawing(BOX, label, boxes, backdrop, change);
}

/**
 * @param {string} label
 * @param {readonly PointValue[]} points
 * @param {Backdrop} backdrop
 * @param {(all: PointValue[]) => void} change
 */
export function pointsDrawing(label, points, backdrop, change) {
  return placesDrawing(POINT, label, points, backdrop, change);
}

// @ts-check
/** Boxes that are moved and resized, by pointer or by keys. Nothing here touches the document. */
import { clamp, fraction } from "./geometry.js";

/** @import { Edges, Place } from "./geometry.js" */
/**
 * What of a box is held: "" its inside, else the letters of one or two edges: l, r, t, b.
 * @typedef {string} Grip
 */

export const LEAST = 0.02; // of the width and of the height: no box is made smaller
const STEP = 0.01; // of the width or height that a key moves

/** @type {Record<string, string>} grip -> CSS cursor */
export const CURSORS = {
  "": "move", l: "ew-resize", r: "ew-resize", t: "ns-resize", b: "ns-resize", lt: "nwse-resize", rb: "nwse-resize", rt: "nesw-resize", lb: "nesw-resize",
};
/** The places that show that a box can be resized: corners and middles of its edges. */
export const GRIPS = ["lt", "t", "rt", "r", "rb", "b", "lb", "l"];

/**
 * A box as large as before, elsewhere, inside the frame.
 * @param {Edges} box
 * @param {number} dx
 * @param {number} dy
 * @returns {Edges}
 */
export function movedBox({ left, top, right, bottom }, dx, dy) {
  const x = clamp(dx, -left, 1 - right), y = clamp(dy, -top, 1 - bottom);
  return { left: fraction(left + x), top: fraction(top + y), right: fraction(right + x), bottom: fraction(bottom + y) };
}

/**
 * A box whose held edges are at another place.
 * @param {Edges} box
 * @param {Grip} grip
 * @param {Place} to
 * @returns {Edges}
 */
export function resizedBox({ left, top, right, bottom }, grip, to) {
  return {
    left: grip.includes("l") ? fraction(Math.min(to.x, right - LEAST)) : left,
    top: grip.includes("t") ? fraction(Math.min(to.y, bottom - LEAST)) : top,
    right: grip.includes("r") ? fraction(Math.max(to.x, left + LEAST)) : right,
    bottom: grip.includes("b") ? fraction(Math.max(to.y, top + LEAST)) : bottom,
  };
}

/**
 * What a place holds of one box; null where it is off it.
 * @param {Edges} box
 * @param {Place} place
 * @param {Place} reach how far from an edge still counts as on it
 * @returns {Grip | null}
 */
function gripOf({ left, top, right, bottom }, { x, y }, reach) {
  if (x < left - reach.x || x > right + reach.x || y < top - reach.y || y > bottom + reach.y) return null;
  const near = { x: Math.min(reach.x, (right - left) / 3), y: Math.min(reach.y, (bottom - top) / 3) }; // the middle third always moves
  return (x < left + near.x ? "l" : x > right - near.x ? "r" : "") + (y < top + near.y ? "t" : y > bottom - near.y ? "b" : "");
}

/**
 * Which box a place holds, and what of it: the selected one if it can be, else the smallest.
 * @param {readonly Edges[]} boxes
 * @param {Place} place
 * @param {Place} reach
 * @param {number} selected index, -1 where none is
 * @returns {{ index: number, grip: Grip } | null}
 */
export function gripAt(boxes, place, reach, selected) {
  const area = (/** @type {number} */ i) => (boxes[i].right - boxes[i].left) * (boxes[i].bottom - boxes[i].top);
  const found = boxes.flatMap((box, index) => {
    const grip = gripOf(box, place, reach);
    return grip === null ? [] : [{ index, grip }];
  });
  const [first] = found.sort((a, b) => Number(b.index === selected) - Number(a.index === selected) || area(a.index) - area(b.index));
  return first ?? null;
}

/**
 * A box after a drag from one place to another.
 * @param {Edges} box
 * @param {Grip} grip
 * @param {Place} from
 * @param {Place} to
 */
export function draggedBox(box, grip, from, to) {
  const dx = to.x - from.x, dy = to.y - from.y;
  if (grip === "") return movedBox(box, dx, dy);
  const edge = { x: grip.includes("l") ? box.left : box.right, y: grip.includes("t") ? box.top : box.bottom };
  return resizedBox(box, grip, { x: edge.x + dx, y: edge.y + dy });
}

/**
 * A box after a key: arrows move it, with Shift its right or bottom edge. null where the key is another one.
 * @param {Edges} box
 * @param {readonly [number, number] | undefined} way of the arrow
 * @param {boolean} resize
 */
export function boxByKey(box, way, resize) {
  if (!way) return null;
  const [dx, dy] = [way[0] * STEP, way[1] * STEP];
  return resize ? resizedBox(box, dx ? "r" : "b", { x: box.right + dx, y: box.bottom + dy }) : movedBox(box, dx, dy);
}

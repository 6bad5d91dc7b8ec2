// @ts-check
/** Numbers of places and shapes. Nothing here touches the document. */

/** @typedef {{ x: number, y: number }} Place */
/** @typedef {{ left: number, top: number, right: number, bottom: number }} Edges */
/** @typedef {[number, number]} Range */

/**
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/**
 * A fraction of a width or height: in 0..1, with three digits, which is a pixel of an image of a thousand.
 * @param {number} value
 */
export function fraction(value) {
  return Math.round(clamp(value, 0, 1) * 1000) / 1000;
}

/**
 * How far a value is from `low` to `high`, in per cent. A range without width counts as one unit wide.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function percentOf(value, low, high) {
  return (100 * (value - low)) / (high - low || 1);
}

/**
 * Where a pointer is inside a rectangle of the page, as fractions of its width and height.
 * @param {{ clientX: number, clientY: number }} pointer
 * @param {{ left: number, top: number, width: number, height: number }} box
 * @returns {Place}
 */
export function placeIn(pointer, box) {
  return { x: fraction((pointer.clientX - box.left) / box.width), y: fraction((pointer.clientY - box.top) / box.height) };
}

/**
 * In which of `count` equal parts of a length a position lies: 0 .. count - 1, also for positions outside.
 * @param {number} position
 * @param {number} length
 * @param {number} count
 */
export function partAt(position, length, count) {
  return clamp(Math.floor((position / length) * count), 0, count - 1);
}

/**
 * The rectangle between two places, whichever way it was dragged.
 * @param {Place} a
 * @param {Place} b
 * @returns {Edges}
 */
export function between(a, b) {
  return { left: Math.min(a.x, b.x), top: Math.min(a.y, b.y), right: Math.max(a.x, b.x), bottom: Math.max(a.y, b.y) };
}

/**
 * Whether a rectangle is smaller than someone can have meant: a click, or a slip of the pointer.
 * @param {Edges} box
 * @param {number} [least] of the width and of the height
 */
export function isSlip(box, least = 0.03) {
  return box.right - box.left < least || box.bottom - box.top < least;
}

/**
 * The smallest and the largest of some numbers, with a margin of this part of their distance on both sides.
 * @param {readonly number[]} values at least one
 * @param {number} [margin]
 * @returns {Range}
 */
export function rangeOf(values, margin = 0) {
  const low = Math.min(...values), high = Math.max(...values), more = (high - low || 1) * margin;
  return [low - more, high + more];
}

/**
 * A function from values in `from` to positions in `to`, straight or by the logarithm. A range without width maps to
 * the middle.
 * @param {Range} from
 * @param {Range} to
 * @param {boolean} [logarithmic]
 * @returns {(value: number) => number}
 */
export function scale(from, to, logarithmic = false) {
  const bend = logarithmic ? Math.log10 : (/** @type {number} */ value) => value;
  const [low, high] = from.map(bend);
  if (high === low) return () => (to[0] + to[1]) / 2;
  return (value) => to[0] + ((bend(value) - low) / (high - low)) * (to[1] - to[0]);
}

/**
 * SVG's path through some points; "" for none.
 * @param {readonly (readonly number[])[]} points
 */
export function pathThrough(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

/**
 * The index of the point that is nearest to a place, and its distance; null where there are no points.
 * @param {readonly (readonly number[])[]} points
 * @param {number} x
 * @param {number} y
 */
export function nearest(points, x, y) {
  let best = null;
  for (const [index, point] of points.entries()) {
    const distance = Math.hypot(point[0] - x, point[1] - y);
    if (best === null || distance < best.distance) best = { index, distance };
  }
  return best;
}

/**
 * Where labels stand one below the other without touching: each as high as wished where that is free, else lower.
 * @param {readonly number[]} wished
 * @param {number} height of a label
 */
export function withoutOverlap(wished, height) {
  /** @type {number[]} */
  const taken = [];
  return wished.map((y) => {
    let free = y;
    for (let other = taken.find((one) => Math.abs(one - free) < height - 1e-6); other !== undefined;) {
      free = other + height;
      other = taken.find((one) => Math.abs(one - free) < height - 1e-6);
    }
    taken.push(free);
    return free;
  });
}

/**
 * A point of a cube [-1, 1]^3 (missing coordinates are 0) as it is seen after turns about the upright and the level axis.
 * @param {readonly number[]} point
 * @param {readonly [number, number]} turn radians
 * @returns {[number, number]}
 */
export function turned(point, [about, over]) {
  const [x, y = 0, z = 0] = point;
  const depth = -x * Math.sin(about) + z * Math.cos(about);
  return [x * Math.cos(about) + z * Math.sin(about), y * Math.cos(over) - depth * Math.sin(over)];
}

/**
 * Whether a number field holds what lies out of its range, or nothing.
 * @param {{ value: string, min: string, max: string }} field "" where there is no bound
 */
export function isOutside({ value, min, max }) {
  if (value === "") return true;
  return (min !== "" && Number(value) < Number(min)) || (max !== "" && Number(value) > Number(max));
}

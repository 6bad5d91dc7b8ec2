// @ts-check
/** Where the names of points stand in a plot, so that all can be read. Nothing here touches the document. */

/** @import { Edges } from "./geometry.js" */
/** @typedef {{ label: string, number: number, x: number, y: number }} Dot */
/** @typedef {{ words: string, x: number, y: number, anchor: "start" | "middle" | "end" }} PlacedLabel */

const LETTER = 6.4, LINE = 13, DOT = 6; // pixels of a plot's text of 12 pixels: width, height; half of a dot with air

/**
 * @param {Edges} a
 * @param {Edges} b
 */
const touch = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/**
 * The space that a label takes.
 * @param {PlacedLabel} label
 * @returns {Edges}
 */
export function spaceOf({ words, x, y, anchor }) {
  const width = words.length * LETTER, left = anchor === "start" ? x : anchor === "end" ? x - width : x - width / 2;
  return { left, right: left + width, top: y - LINE + 3, bottom: y + 3 };
}

/**
 * Beside, above and below a point, the nearest place first.
 * @param {Dot} dot
 * @param {string} words
 * @returns {PlacedLabel[]}
 */
function places({ x, y }, words) {
  const beside = [4, -8, 16, -20, 28].flatMap((down) => [
    { words, x: x + DOT + 3, y: y + down, anchor: /** @type {const} */ ("start") },
    { words, x: x - DOT - 3, y: y + down, anchor: /** @type {const} */ ("end") },
  ]);
  const over = [-9, 18].map((down) => ({ words, x, y: y + down, anchor: /** @type {const} */ ("middle") }));
  return [...beside.slice(0, 2), ...over, ...beside.slice(2)];
}

/**
 * Places along a line through some points, close enough that no label fits between two of them.
 * @param {readonly { x: number, y: number }[]} points
 * @returns {Edges[]}
 */
function along(points) {
  return points.slice(1).flatMap((to, i) => {
    const from = points[i], count = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / LINE);
    return Array.from({ length: count + 1 }, (_, n) => {
      const x = from.x + (n / count) * (to.x - from.x), y = from.y + (n / count) * (to.y - from.y);
      return { left: x, right: x + 1, top: y, bottom: y + 1 };
    });
  });
}

/**
 * For each point its name where that is free of other points, names and the line; else its number; else null.
 * @param {readonly Dot[]} dots
 * @param {Edges} within
 * @param {readonly { x: number, y: number }[]} [line] the points of a line that is drawn
 * @returns {(PlacedLabel | null)[]}
 */
export function placedLabels(dots, within, line = []) {
  const taken = dots.map(({ x, y }) => ({ left: x - DOT, right: x + DOT, top: y - DOT, bottom: y + DOT }));
  taken.push(...along(line));
  const isFree = (/** @type {PlacedLabel} */ label) => {
    const space = spaceOf(label);
    return space.left >= within.left && space.right <= within.right && space.top >= within.top && space.bottom <= within.bottom
      && !taken.some((other) => touch(space, other));
  };
  return dots.map((dot) => {
    const label = [...places(dot, dot.label), ...places(dot, String(dot.number))].find(isFree);
    if (label) taken.push(spaceOf(label));
    return label ?? null;
  });
}

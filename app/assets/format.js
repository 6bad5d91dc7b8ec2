// @ts-check
/** Numbers as words, and words as numbers. Nothing here touches the document. */

/**
 * Without the digits that floating point adds: 0.30000000000000004 is "0.3".
 * @param {number} value
 */
export function plain(value) {
  return String(Math.round(value * 1e6) / 1e6);
}

/**
 * Four digits; very large and very small ones as powers of ten; "-" for what is not known.
 * @param {number | null | undefined} value
 */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "-";
  const size = Math.abs(value);
  return size >= 1000 || (size > 0 && size < 0.001) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/**
 * A value of a measure, in its digits and unit.
 * @param {{ digits: number, unit: string }} measure
 * @param {number} value
 */
export function measured({ digits, unit }, value) {
  return value.toFixed(digits) + (unit ? ` ${unit}` : "");
}

/**
 * "1 vote", "3 votes"
 * @param {number} count
 * @param {string} one
 * @param {string} [many]
 */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/**
 * What a run cost: time, network evaluations, and how many of them were differentiated.
 * @param {{ seconds: number, nfe: number, gradients: number }} result
 */
export function cost({ seconds, nfe, gradients }) {
  return `${seconds.toFixed(1)} s · ${counted(nfe, "evaluation", "evaluations")}` + (gradients ? ` · ${counted(gradients, "backward pass", "backward passes")}` : "");
}

/**
 * A time in the unit that fits: "8 s", "3 min", "1.5 h".
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/**
 * A title as the name of a file.
 * @param {string} title
 * @param {string} extension
 */
export function fileName(title, extension) {
  const stem = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  return `${stem || "plot"}.${extension}`;
}

/**
 * A curve over the steps as text, "0:1, 0.4:1, 0.6:0", to points [[0, 1], [0.4, 1], [0.6, 0]]; null where it is none.
 * @param {string} text
 * @returns {[number, number][] | null}
 */
export function curvePoints(text) {
  const pairs = text.split(",").map((pair) => pair.split(":").map((part) => (part.trim() === "" ? NaN : Number(part))));
  const good = pairs.every((pair) => pair.length === 2 && pair.every(Number.isFinite));
  return good ? /** @type {[number, number][]} */ (pairs) : null;
}

/**
 * Whether everything that was typed occurs in a text, in any order.
 * @param {string} typed
 * @param {string} text
 */
export function matches(typed, text) {
  const within = text.toLowerCase();
  return typed.trim().toLowerCase().split(/\s+/).every((word) => within.includes(word));
}

/**
 * The text of a number with a point where a decimal comma stands; null where it has none.
 * @param {string | null | undefined} text
 */
export function withPoint(text) {
  const plain = text?.trim() ?? "";
  return /^-?\d*,\d*$/.test(plain) ? plain.replace(",", ".") : null;
}

/**
 * How many images are selected.
 * @param {number} count
 * @param {number} here of them on the page that is shown
 */
export function selectedWords(count, here) {
  return `${count} selected${count > here ? `, ${count - here} of them not on this page` : ""}`;
}

/**
 * What lies in a list from one to another, in either order, both included; the other alone where the first is not there.
 * @param {string[]} all
 * @param {string} from
 * @param {string} to
 */
export function between(all, from, to) {
  const ends = [all.indexOf(from), all.indexOf(to)];
  return ends[0] < 0 ? [to] : all.slice(Math.min(...ends), Math.max(...ends) + 1);
}

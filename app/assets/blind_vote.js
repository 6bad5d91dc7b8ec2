// @ts-check
/** Blind votes: two images of one cell's settings from two columns, without their names. */
import { actButton, element } from "./element.js";
import { counted } from "./format.js";

/** @import { CompareCell, Ratings, WholeComparison } from "./server.d.ts" */

/** @type {[CompareCell, CompareCell] | null} */
let pair = null; // stays until it is voted on

/** Another comparison: another pair. */
export function forgetPair() { pair = null; }

/**
 * @template T
 * @param {readonly T[]} all
 * @param {() => number} random
 */
const anyOf = (all, random) => all[Math.floor(random() * all.length)];

/**
 * Two cells that differ in their column only; null where there are none.
 * @param {readonly CompareCell[]} made
 * @param {() => number} [random] in [0, 1)
 * @returns {[CompareCell, CompareCell] | null}
 */
export function drawPair(made, random = Math.random) {
  /** @type {Map<string, CompareCell[]>} */
  const rows = new Map();
  for (const cell of made) {
    const row = cell.place.slice(1).join(",");
    rows.set(row, [...(rows.get(row) ?? []), cell]);
  }
  const groups = [...rows.values()].filter((all) => new Set(all.map((cell) => cell.place[0])).size > 1);
  if (!groups.length) return null;
  const group = anyOf(groups, random), one = anyOf(group, random);
  return [one, anyOf(group.filter((cell) => cell.place[0] !== one.place[0]), random)];
}

/**
 * @param {string} words
 * @param {Ratings["ratings"]} ratings
 */
function ratingsTable(words, ratings) {
  return element("table", { class: "nw-ranks" }, element("caption", {}, words), ...ratings.map(([name, rating, low, high]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "nw-mono" }, String(rating)),
      element("td", { class: "nw-mono nw-quiet" }, `${low} to ${high}`))));
}

/**
 * What is asked: about the prompt, or where there is none about what the columns were given.
 * @param {Pick<WholeComparison, "prompt" | "condition">} comparison
 */
export function question({ prompt, condition }) {
  const words = prompt ? `Which image is better for “${prompt}”?`
    : condition ? `There is no prompt: which image is better for ${condition}?` : "There is no prompt: which image do you like better?";
  return `${words} The columns are not shown.`;
}

/**
 * @param {WholeComparison} comparison
 * @param {(better: string, worse: string, verdict: "better" | "same" | "neither") => void} vote columns by their labels
 */
export function blindVote(comparison, vote) {
  const { axes, cells, states, votes, without_condition } = comparison;
  const section = element("section", { class: "nw-summary nw-vote", "aria-label": "Blind vote" }, element("h3", {}, "Blind vote"));
  pair ??= drawPair(cells.filter((cell) => states[cell.key]?.result && !without_condition.includes(cell.place[0])));
  if (!pair) {
    section.append(element("p", {}, "Two columns have to be made first."));
    return section;
  }
  const both = pair;
  const labels = both.map((cell) => axes[0].labels[cell.place[0]]);
  const say = (/** @type {"same" | "neither"} */ verdict) => () => { pair = null; vote(labels[0], labels[1], verdict); };
  section.append(element("p", {}, question(comparison)),
    element("div", { class: "nw-pairs" }, ...both.map((cell, i) => element("button", {
      type: "button", class: "nw-cell-image", style: `aspect-ratio:${cell.aspect}`,
      "aria-label": i ? "The right one" : "The left one",
      onclick: () => {
        pair = null;
        vote(labels[i], labels[1 - i], "better");
      },
    }, element("img", { alt: "", src: states[cell.key]?.image })))),
    element("div", { class: "nw-acts" }, actButton("Both are as good", say("same")), actButton("Neither is good", say("neither"))));
  if (votes.count) section.append(ratingsTable(`Ratings after ${counted(votes.count, "vote")}, with 95 % intervals`, votes.ratings));
  if (votes.neither) section.append(element("p", { class: "nw-quiet" }, `Neither was good in ${counted(votes.neither, "vote")}.`));
  if (votes.all.count > votes.count) {
    section.append(ratingsTable(`In all saved comparisons, after ${counted(votes.all.count, "vote")}`, votes.all.ratings));
  }
  return section;
}

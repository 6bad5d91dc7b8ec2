// @ts-check
/** The stack of methods without its looks: cards, their order, their text. Nothing here touches the document. */

import { USUAL_FIT } from "./image_fit.js";

/** @import { Card as SentCard, MaskEdge, Method, Operator, Stack } from "./server.d.ts" */
/** @typedef {NonNullable<SentCard["knobs"]>[string]} KnobValue */
/** @typedef {NonNullable<SentCard["inputs"]>[string]} InputValue */

/**
 * A card of the page: what is sent of it, and how it is shown.
 * @typedef {object} Card
 * @property {string} name
 * @property {Record<string, KnobValue>} knobs
 * @property {Record<string, InputValue>} inputs
 * @property {Record<string, string>} fit of inputs that are images: how they get to the result's size; the usual way is left out
 * @property {Record<string, MaskEdge>} mask_edges of inputs that are masks; those as they were painted are left out
 * @property {boolean} muted
 * @property {boolean} solo
 * @property {boolean} open
 * @property {boolean} [more] whether its further settings are shown
 */

/**
 * @param {string} name
 * @returns {Card}
 */
export function newCard(name) {
  return { name, knobs: {}, inputs: {}, fit: {}, mask_edges: {}, muted: false, solo: false, open: true };
}

/**
 * The cards of a text; those that were there before stay open or closed. No cards for a text that is none.
 * @param {string | null | undefined} text
 * @param {readonly Card[]} [before]
 * @returns {Card[]}
 */
export function readStack(text, before = []) {
  /** @type {Stack} */
  let sent;
  try { sent = JSON.parse(text || "{}"); } catch { return []; }
  const open = new Map(before.map((card) => [card.name, card.open]));
  return (sent?.cards ?? []).map((card) => ({ ...newCard(card.name), ...card, open: open.get(card.name) ?? true }));
}

/**
 * The text of the cards, as the server reads it.
 * @param {readonly Card[]} cards
 */
export function writeStack(cards) {
  return JSON.stringify({
    cards: cards.map(({ name, knobs, inputs, fit, mask_edges: edges, muted, solo }) =>
      ({ name, knobs, inputs, muted, solo, ...(Object.keys(fit).length ? { fit } : {}), ...(Object.keys(edges).length ? { mask_edges: edges } : {}) })),
  });
}

/**
 * Which of two cards acts first: negative for a, positive for b, 0 where they may change places.
 * @param {Record<string, Pick<Method, "order">>} methods
 * @param {{ name: string }} a
 * @param {{ name: string }} b
 */
export function compareOrder(methods, a, b) {
  const last = [99, 0]; // a method that is not here
  const [one, other] = [a, b].map(({ name }) => methods[name]?.order ?? last);
  return one[0] - other[0] || one[1] - other[1];
}

/**
 * Whether a card does not act: muted, or others are soloed.
 * @param {readonly Card[]} cards
 * @param {Card} card
 */
export function isSilent(cards, card) {
  return card.muted || (!card.solo && cards.some((other) => other.solo));
}

/** @param {unknown} value of an input */
export function isEmpty(value) {
  return value === "" || value === null || value === undefined || (Array.isArray(value) && value.length === 0);
}

/**
 * Whether an input was not given yet, wholly or in part: said quietly until someone generates.
 * @param {InputValue | undefined} value
 * @param {readonly Operator[]} operators
 */
export function isUnanswered(value, operators) {
  if (value === undefined || isEmpty(value)) return true;
  if (Array.isArray(value)) return value.some((one) => typeof one === "object" && "text" in one && one.text === "");
  if (typeof value !== "object") return false;
  const masks = operators.find((one) => one.name === value.name)?.parameters.filter(({ type }) => type === "mask") ?? [];
  return !value.image || masks.some(({ name }) => !value.parameters?.[name]);
}

/**
 * The image that a mask or boxes are drawn over: the first one that the card holds, and how it is fitted; sha "" where it
 * holds none.
 * @param {Pick<Card, "inputs" | "fit">} card
 * @param {Pick<Method, "inputs">} method
 */
export function backdrop(card, method) {
  for (const { name, kind } of method.inputs) {
    const value = card.inputs[name], fit = card.fit[name] ?? USUAL_FIT;
    if ((kind === "image" || kind === "map") && typeof value === "string" && value) return { sha: value, fit };
    if (kind === "operator" && typeof value === "object" && !Array.isArray(value) && value.image) return { sha: value.image, fit };
  }
  return { sha: "", fit: USUAL_FIT };
}

/**
 * What a card is asked to do, as a change of the cards.
 * @type {Record<string, (cards: Card[], i: number) => void>}
 */
export const ACTS = {
  mute: (cards, i) => { cards[i].muted = !cards[i].muted; },
  solo: (cards, i) => { cards[i].solo = !cards[i].solo; },
  remove: (cards, i) => { cards.splice(i, 1); },
  up: (cards, i) => { if (i > 0) cards.splice(i - 1, 2, cards[i], cards[i - 1]); },
  down: (cards, i) => { if (i < cards.length - 1) cards.splice(i, 2, cards[i + 1], cards[i]); },
};

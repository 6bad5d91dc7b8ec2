// @ts-check
/** What an image can be used for, and the stack with it in place. Nothing here touches the document. */
import { newCard } from "./stack_model.js";

/** @import { Catalogue, DegradationValue, ImageUse } from "./server.d.ts" */
/** @import { Card } from "./stack_model.js" */

const TAKES = new Set(["image", "map", "references", "operator"]); // kinds of inputs

/**
 * What a dropped image can be used for, the likeliest first; then the inputs of methods in the stack that are not among
 * these already.
 * @param {Pick<Catalogue, "image_uses" | "methods">} catalogue
 * @param {readonly string[] | null} offers of the network; null while it is not known: then everything is offered
 * @param {readonly Pick<Card, "name">[]} cards
 * @returns {ImageUse[]}
 */
export function usesOfImage({ image_uses: usual, methods }, offers, cards) {
  const can = usual.filter(({ needs }) => offers === null || needs.every((one) => offers.includes(one)));
  const more = cards.flatMap(({ name }) => (methods[name]?.inputs ?? [])
    .filter(({ kind, name: input }) => TAKES.has(kind) && !can.some((one) => one.method === name && one.input === input))
    .map((input) => ({ title: `${methods[name].title}: ${input.label}`, summary: input.help, method: name, input: input.name, knobs: {}, needs: [] })));
  return [...can, ...more];
}

/**
 * The cards with an image in its place: the method is added where it is missing, and is the only open card.
 * @param {readonly Card[]} cards
 * @param {Pick<ImageUse, "method" | "input" | "knobs">} use
 * @param {string} kind of the input
 * @param {string} sha
 * @param {DegradationValue} degradation what is done to an image where nothing was chosen yet
 * @returns {Card[]}
 */
export function withImage(cards, { method, input, knobs }, kind, sha, degradation) {
  const all = cards.some(({ name }) => name === method) ? cards : [...cards, newCard(method)];
  return all.map((card) => {
    if (card.name !== method) return { ...card, open: false };
    const now = card.inputs[input];
    const isDegradation = typeof now === "object" && !Array.isArray(now);
    const value = kind === "references" ? [...(Array.isArray(now) ? /** @type {string[]} */ (now) : []), sha]
      : kind === "operator" ? { ...(isDegradation ? now : degradation), image: sha } : sha;
    return { ...card, open: true, muted: false, inputs: { ...card.inputs, [input]: value }, knobs: { ...card.knobs, ...knobs } };
  });
}

// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ACTS, backdrop, compareOrder, isEmpty, isSilent, isUnanswered, newCard, readStack, writeStack,
} from "../../app/assets/stack_model.js";

/** @import { Method, Operator } from "../../app/assets/server.d.ts" */

test("a text becomes cards and the same text again", () => {
  const text = '{"cards":[{"name":"ilvr","knobs":{"factor":4},"inputs":{"source":"ab"},"muted":true,"solo":false}]}';
  const cards = readStack(text);
  assert.equal(writeStack(cards), text);
  assert.equal(cards[0].open, true);
});

test("how images are fitted is written where it is not the usual way", () => {
  const text = '{"cards":[{"name":"ilvr","knobs":{},"inputs":{},"muted":false,"solo":false,"fit":{"reference":"pad"}}]}';
  assert.deepEqual(readStack(text)[0].fit, { reference: "pad" });
  assert.equal(writeStack(readStack(text)), text, "in the order in which the server writes it");
});

test("what is left out has its default, and what is no stack is none", () => {
  assert.deepEqual(readStack('{"cards":[{"name":"ddnm"}]}'), [newCard("ddnm")]);
  for (const none of ["", null, undefined, "{}", "null", "{", '{"cards":[]}']) assert.deepEqual(readStack(none), [], String(none));
});

test("cards that were there stay open or closed", () => {
  const before = [{ ...newCard("a"), open: false }];
  assert.deepEqual(readStack('{"cards":[{"name":"b"},{"name":"a"}]}', before).map((card) => card.open), [true, false]);
});

test("cards are in the order in which methods act; unknown ones last; equal ones may change places", () => {
  /** @type {Record<string, { order: [number, number] }>} */
  const methods = { late: { order: [8, 0] }, early: { order: [1, 5] }, first: { order: [1, 2] }, beside: { order: [8, 0] } };
  const cards = ["nowhere", "late", "early", "first"].map((name) => ({ name }));
  const names = cards.sort((a, b) => compareOrder(methods, a, b)).map(({ name }) => name);
  assert.deepEqual(names, ["first", "early", "late", "nowhere"]);
  assert.equal(compareOrder(methods, { name: "late" }, { name: "beside" }), 0);
});

test("a card is silent when it is muted, or others are soloed and it is not", () => {
  const [a, b, c] = [newCard("a"), { ...newCard("b"), solo: true }, { ...newCard("c"), solo: true, muted: true }];
  assert.deepEqual([a, b, c].map((card) => isSilent([a, b, c], card)), [true, false, true]);
  assert.equal(isSilent([a], a), false);
});

test("what is empty", () => {
  for (const empty of ["", null, undefined, []]) assert.ok(isEmpty(empty));
  for (const some of ["x", 0, false, [""], {}]) assert.ok(!isEmpty(some));
});

test("what is not answered yet, wholly or in part", () => {
  /** @type {Operator[]} */
  const operators = [
    { name: "inpainting", title: "", parameters: [{ name: "mask", label: "", type: "mask" }] },
    { name: "blur", title: "", parameters: [] },
  ];
  const box = { left: 0, top: 0, right: 1, bottom: 1 };
  assert.ok(isUnanswered(undefined, operators));
  assert.ok(isUnanswered([], operators));
  assert.ok(isUnanswered([{ ...box, text: "a cube" }, { ...box, text: "" }], operators), "one box has no words");
  assert.ok(!isUnanswered([{ ...box, text: "a cube" }], operators));
  assert.ok(!isUnanswered(["hash"], operators));
  assert.ok(!isUnanswered([{ x: 0, y: 0 }], operators));
  assert.ok(isUnanswered({ name: "blur", image: "" }, operators));
  assert.ok(!isUnanswered({ name: "blur", image: "hash" }, operators));
  assert.ok(isUnanswered({ name: "inpainting", image: "hash", parameters: {} }, operators), "its mask is missing");
  assert.ok(!isUnanswered({ name: "inpainting", image: "hash", parameters: { mask: "hash" } }, operators));
  assert.ok(!isUnanswered({ name: "of another version", image: "hash" }, operators));
});

test("a mask is drawn over the first image of its card", () => {
  const method = /** @type {Method} */ ({ inputs: [
    { name: "mask", kind: "mask" }, { name: "words", kind: "prompt" }, { name: "measured", kind: "operator" }, { name: "source", kind: "image" },
  ] });
  const card = newCard("x");
  assert.deepEqual(backdrop(card, method), { sha: "", fit: "crop" });
  card.inputs = { mask: "m", words: "w", source: "s" };
  assert.deepEqual(backdrop(card, method), { sha: "s", fit: "crop" });
  card.fit = { source: "pad", measured: "stretch" };
  assert.deepEqual(backdrop(card, method), { sha: "s", fit: "pad" }, "it is fitted as the image is");
  card.inputs.measured = { name: "blur", image: "p" };
  assert.deepEqual(backdrop(card, method), { sha: "p", fit: "stretch" });
});

test("cards change places, and stay where they are at both ends", () => {
  const names = (/** @type {import("../../app/assets/stack_model.js").Card[]} */ cards) => cards.map(({ name }) => name).join("");
  const cards = ["a", "b", "c"].map(newCard);
  ACTS.up(cards, 2);
  assert.equal(names(cards), "acb");
  ACTS.down(cards, 0);
  assert.equal(names(cards), "cab");
  ACTS.up(cards, 0);
  ACTS.down(cards, 2);
  assert.equal(names(cards), "cab");
  ACTS.remove(cards, 1);
  assert.equal(names(cards), "cb");
  ACTS.mute(cards, 0);
  ACTS.solo(cards, 1);
  assert.deepEqual(cards.map(({ muted, solo }) => [muted, solo]), [[true, false], [false, true]]);
});

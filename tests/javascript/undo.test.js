// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { UndoList } from "../../app/assets/undo.js";

test("the last change is undone first; with nothing before it there is nothing to undo", () => {
  const list = new UndoList();
  assert.equal(list.undo(), null);
  assert.equal(list.note({ steps: 10, prompt: "" }, 0), false);
  assert.equal(list.note({ steps: 20, prompt: "" }, 5000), true);
  list.note({ steps: 20, prompt: "a cube" }, 9000);
  assert.deepEqual(list.undo(), { steps: 20, prompt: "" });
  assert.deepEqual(list.undo(), { steps: 10, prompt: "" });
  assert.equal(list.undo(), null);
});

test("what is typed without a pause into one field is one change", () => {
  const list = new UndoList();
  ["", "a", "a c", "a cube"].forEach((prompt, i) => list.note({ steps: 10, prompt }, 300 * i));
  list.note({ steps: 10, prompt: "a cube and a cone" }, 9000);
  assert.equal(list.undo()?.prompt, "a cube");
  assert.equal(list.undo()?.prompt, "");
});

test("several fields at once, as an example sets them, are one change of their own", () => {
  const list = new UndoList();
  list.note({ steps: 10, prompt: "mine", methods: "" }, 0);
  list.note({ steps: 30, prompt: "an example", methods: "ddnm" }, 100);
  list.note({ steps: 30, prompt: "an example!", methods: "ddnm" }, 200);
  assert.equal(list.undo()?.prompt, "an example");
  assert.deepEqual(list.undo(), { steps: 10, prompt: "mine", methods: "" });
});

test("the same settings again are no change, and what comes back from an undo is none", () => {
  const list = new UndoList();
  list.note({ steps: 10 }, 0);
  assert.equal(list.note({ steps: 10 }, 5000), false);
  list.note({ steps: 12 }, 9000);
  const back = list.undo();
  assert.ok(back);
  assert.equal(list.note(back, 9500), false);
});

test("a hundred changes are kept", () => {
  const list = new UndoList();
  for (let i = 0; i < 150; i++) list.note({ steps: i }, 5000 * i);
  let undone = 0;
  while (list.undo()) undone++;
  assert.equal(undone, 100);
});

test("of the methods, what is typed or moved at one place without a pause is one change; all else is one each", () => {
  const box = (/** @type {number} */ left, right = 0.5) => ({ left, right, text: "" });
  const stack = (/** @type {object} */ inputs, more = {}) => ({ methods: JSON.stringify({ cards: [{ name: "m", inputs, ...more }] }) });
  const [one, other] = ["a".repeat(64), "b".repeat(64)];
  const steps = [
    stack({ boxes: [box(0.1)], mask: one }),
    stack({ boxes: [box(0.2, 0.6)], mask: one }), // moved
    stack({ boxes: [box(0.3, 0.7)], mask: one }), // moved on
    stack({ boxes: [box(0.3, 0.7), box(0)], mask: one }), // another one
    stack({ boxes: [box(0.3, 0.7)], mask: one }), // taken out
    stack({ boxes: [box(0.3, 0.7)], mask: other }), // a stroke
    stack({ boxes: [box(0.3, 0.7)], mask: one }), // and another
    stack({ boxes: [box(0.3, 0.7)], mask: one, image: one }), // a first image
  ];
  const list = new UndoList();
  steps.forEach((settings, i) => list.note(settings, 100 * i));
  for (const step of [6, 5, 4, 3, 2, 0]) assert.deepEqual(list.undo(), steps[step]);
  assert.equal(list.undo(), null);
});

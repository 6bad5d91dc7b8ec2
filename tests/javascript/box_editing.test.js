// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { CURSORS, GRIPS, LEAST, boxByKey, draggedBox, gripAt, movedBox, resizedBox } from "../../app/assets/box_editing.js";

const BOX = { left: 0.2, top: 0.3, right: 0.6, bottom: 0.5 };
const REACH = { x: 0.03, y: 0.03 };
const sizes = (/** @type {typeof BOX} */ { left, top, right, bottom }) => [right - left, bottom - top].map((v) => Math.round(1000 * v));

test("a moved box keeps its size and stays inside the frame", () => {
  assert.deepEqual(movedBox(BOX, 0.1, -0.1), { left: 0.3, top: 0.2, right: 0.7, bottom: 0.4 });
  for (const [dx, dy] of [[2, 2], [-2, 0], [0, -2], [0.39, 0.51]]) {
    const box = movedBox(BOX, dx, dy);
    assert.deepEqual(sizes(box), sizes(BOX));
    assert.ok(box.left >= 0 && box.top >= 0 && box.right <= 1 && box.bottom <= 1);
  }
});

test("each grip moves its edges alone, and no box is turned inside out", () => {
  for (const grip of GRIPS) {
    const box = draggedBox(BOX, grip, { x: 0, y: 0 }, { x: 0.05, y: 0.05 });
    assert.equal(box.left !== BOX.left, grip.includes("l"), grip);
    assert.equal(box.right !== BOX.right, grip.includes("r"), grip);
    assert.equal(box.top !== BOX.top, grip.includes("t"), grip);
    assert.equal(box.bottom !== BOX.bottom, grip.includes("b"), grip);
    for (const [x, y] of [[5, 5], [-5, -5]]) {
      const far = resizedBox(BOX, grip, { x, y });
      assert.ok(far.right - far.left >= LEAST - 1e-9 && far.bottom - far.top >= LEAST - 1e-9, grip);
      assert.ok(far.left >= 0 && far.top >= 0 && far.right <= 1 && far.bottom <= 1, grip);
    }
  }
});

test("edges and corners are held near them, the inside moves, and off the box nothing is held", () => {
  const grip = (/** @type {number} */ x, /** @type {number} */ y) => gripAt([BOX], { x, y }, REACH, -1)?.grip;
  assert.equal(grip(0.4, 0.4), "");
  assert.deepEqual([grip(0.19, 0.4), grip(0.61, 0.4), grip(0.4, 0.29), grip(0.4, 0.51)], ["l", "r", "t", "b"]);
  assert.deepEqual([grip(0.2, 0.3), grip(0.6, 0.3), grip(0.2, 0.5), grip(0.6, 0.5)], ["lt", "rt", "lb", "rb"]);
  assert.equal(grip(0.1, 0.4), undefined);
  for (const one of [...GRIPS, ""]) assert.ok(CURSORS[one], one);
});

test("a box smaller than the reach of a finger can still be moved by its middle", () => {
  const small = { left: 0.5, top: 0.5, right: 0.53, bottom: 0.53 };
  assert.equal(gripAt([small], { x: 0.515, y: 0.515 }, { x: 0.1, y: 0.1 }, -1)?.grip, "");
});

test("of boxes that lie over one another the selected one is held, else the smallest", () => {
  const large = { left: 0, top: 0, right: 1, bottom: 1 };
  assert.equal(gripAt([BOX, large], { x: 0.4, y: 0.4 }, REACH, -1)?.index, 0);
  assert.equal(gripAt([BOX, large], { x: 0.4, y: 0.4 }, REACH, 1)?.index, 1);
});

test("arrows move a box, with Shift they resize it, other keys do nothing", () => {
  assert.deepEqual(boxByKey(BOX, [1, 0], false), { left: 0.21, top: 0.3, right: 0.61, bottom: 0.5 });
  assert.deepEqual(boxByKey(BOX, [0, -1], true), { left: 0.2, top: 0.3, right: 0.6, bottom: 0.49 });
  assert.deepEqual(boxByKey(BOX, [-1, 0], true), { left: 0.2, top: 0.3, right: 0.59, bottom: 0.5 });
  assert.equal(boxByKey(BOX, undefined, false), null);
});

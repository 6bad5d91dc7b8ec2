// @ts-check
/** The parts of Compare, Trajectory and the maps that need no document. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { heat } from "../../app/assets/attention_maps.js";
import { drawPair, question } from "../../app/assets/blind_vote.js";
import { sorting } from "../../app/assets/comparison.js";
import { cellLabel, columnOrder, measuresAtCell } from "../../app/assets/comparison_grid.js";
import { cutAfter } from "../../app/assets/divider.js";
import { whenNeeded } from "../../app/assets/input_fields.js";
import { difference } from "../../app/assets/side_by_side.js";
import { figureRange, noiseAxis } from "../../app/assets/trajectory_curves.js";
import { hue, stepsOf } from "../../app/assets/trajectory_cursor.js";

/** @import { CompareCell, Input, Method, Summary, WholeComparison } from "../../app/assets/server.d.ts" */

const cell = (/** @type {number[]} */ ...place) => /** @type {CompareCell} */ ({ key: place.join(), place });

test("a pair for a vote differs in its column and in nothing else", () => {
  const made = [cell(0, 0), cell(1, 0), cell(0, 1), cell(1, 2), cell(2, 2)];
  for (let i = 0; i < 50; i += 1) {
    const [a, b] = drawPair(made) ?? assert.fail();
    assert.notEqual(a.place[0], b.place[0]);
    assert.deepEqual(a.place.slice(1), b.place.slice(1));
  }
  assert.deepEqual(drawPair(made, () => 0)?.map(({ key }) => key), ["0,0", "1,0"]);
  assert.deepEqual(drawPair(made, () => 0.999)?.map(({ key }) => key), ["2,2", "1,2"]);
  assert.equal(drawPair([cell(0, 0), cell(0, 1)]), null, "one column");
  assert.equal(drawPair([cell(0, 0), cell(1, 1)]), null, "no row in common");
  assert.equal(drawPair([]), null);
});

test("what a vote is about: the prompt, or what was given; never empty quotes", () => {
  assert.match(question({ prompt: "a red cube", condition: "the depth map" }), /better for “a red cube”/);
  assert.match(question({ prompt: "", condition: "the degraded image" }), /no prompt: which image is better for the degraded image/);
  assert.match(question({ prompt: "", condition: "" }), /no prompt: which image do you like better/);
});

test("columns in the order of their ranks; those without a rank last, in their own order", () => {
  const axes = [{ name: "methods", labels: ["a", "b", "c", "d"] }];
  const rank = (/** @type {string} */ label) => ({ label, mean: 0, low: null, high: null, cells: 1 });
  const pareto = { seconds: [], nfe: [] }, cost = { seconds: {}, nfe: {} };
  /** @type {Summary} */
  const summary = { measures: { psnr: { ranks: [rank("c"), rank("a")], unranked: [rank("b")], pareto } }, cost };
  assert.deepEqual(columnOrder({ axes, summary }, "psnr"), [2, 0, 1, 3]);
  assert.deepEqual(columnOrder({ axes, summary }, ""), [0, 1, 2, 3]);
  assert.deepEqual(columnOrder({ axes }, "psnr"), [0, 1, 2, 3]);
});

test("all cells there: by what the task is about; else as given, and always as a person chose", () => {
  const measures = /** @type {Summary["measures"]} */ (/** @type {unknown} */ ({ near: {}, psnr: {} }));
  const summary = { measures, cost: { seconds: {}, nfe: {} } };
  assert.equal(sorting({ busy: true, condition: "the depth map", summary }, null), "");
  assert.equal(sorting({ busy: false, condition: "the depth map", summary }, null), "near");
  assert.equal(sorting({ busy: false, condition: "", summary }, null), "", "nothing but a prompt");
  assert.equal(sorting({ busy: false, condition: "the depth map", summary }, "psnr"), "psnr");
  assert.equal(sorting({ busy: false, condition: "the depth map", summary }, ""), "");
  assert.equal(sorting({ busy: false, condition: "the depth map" }, null), "", "nothing measured");
});

test("a cell shows what the columns are sorted by and the measures of its task before others", () => {
  const figures = { atoms: 1, psnr: 2, near: 3, kept: 4 };
  assert.deepEqual(measuresAtCell(figures, ["near", "psnr", "atoms", "kept"], "kept"), ["kept", "near", "psnr"]);
  assert.deepEqual(measuresAtCell(figures, ["near", "solids"], "solids"), ["near", "atoms", "psnr"]);
});

test("a cell is named by its place on every axis", () => {
  const comparison = /** @type {WholeComparison} */ ({ axes: [{ name: "", labels: ["a", "b"] }, { name: "", labels: ["Seed 1"] }] });
  assert.equal(cellLabel(comparison, cell(1, 0)), "b · Seed 1");
});

test("keys move the line between two images, as those of any slider, and no further than its ends", () => {
  const moved = ["ArrowLeft", "ArrowRight", "ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End"].map((key) => cutAfter(key, 50));
  assert.deepEqual(moved, [48, 52, 48, 52, 40, 60, 0, 100]);
  assert.deepEqual([cutAfter("ArrowLeft", 1), cutAfter("ArrowRight", 95, true), cutAfter("ArrowRight", 20, true)], [0, 100, 30]);
  assert.equal(cutAfter("a", 50), null);
});

test("the difference of images: made stronger up to white, its mean as it is, opacity left alone", () => {
  const a = new Uint8ClampedArray([10, 20, 30, 255, 200, 0, 0, 255]), b = new Uint8ClampedArray([13, 20, 20, 255, 0, 0, 0, 0]);
  assert.equal(difference(a, b), (3 + 10 + 200) / 6);
  assert.deepEqual([...a], [9, 0, 30, 255, 255, 0, 0, 255]);
  assert.equal(difference(new Uint8ClampedArray(), new Uint8ClampedArray()), 0);
});

test("noise levels as an axis: all runs on the same one, zero at its end", () => {
  const along = noiseAxis([{ sigmas: [100, 1, 0] }, { sigmas: [10, 2, 0] }]);
  assert.equal(along(100), 0);
  assert.equal(along(0), 1);
  assert.ok(along(10) < along(2) && along(2) < along(1) && along(1) < 1);
  assert.equal(noiseAxis([{ sigmas: [0, 0] }])(0), 0, "no level at all");
});

test("a figure's axis begins at zero where that is near, and is never without width", () => {
  assert.deepEqual(figureRange([1, 10], false), [0, 10]);
  assert.deepEqual(figureRange([8, 10], false), [8, 10]);
  assert.deepEqual(figureRange([-1, 10], false), [-1, 10]);
  assert.deepEqual(figureRange([4, 4], false), [3, 5]);
  assert.deepEqual(figureRange([0.1, 10], true), [0.1, 10]);
  assert.deepEqual(figureRange([5, 5], true), [0.5, 50]);
});

test("runs have steps between their levels, and six colours", () => {
  assert.equal(stepsOf({ sigmas: [3, 2, 1, 0] }), 3);
  assert.equal(hue(0), hue(6));
  assert.notEqual(hue(0), hue(5));
});

test("a map is dark where it is zero and lets most through at its peak", () => {
  assert.deepEqual(heat(0).slice(0, 3), [0, 0, 0]);
  assert.equal(heat(1)[0], 255);
  assert.ok(heat(0)[3] > heat(1)[3]);
});

test("an input may be left out, or not where a choice needs it", () => {
  const method = /** @type {Method} */ ({ knobs: [{ name: "energy", default: "colours" }] });
  const input = (/** @type {Partial<Input>} */ more) => /** @type {Input} */ ({ name: "words", wanted_by: {}, optional: true, ...more });
  assert.equal(whenNeeded(input({ optional: false }), method, {}), "");
  assert.equal(whenNeeded(input({}), method, {}), "optional");
  const asked = input({ wanted_by: { energy: ["text", "style"] } });
  assert.equal(whenNeeded(asked, method, {}), "for text, style");
  assert.equal(whenNeeded(asked, method, { energy: "text" }), "");
  assert.equal(whenNeeded(input({ wanted_by: { energy: ["colours"] } }), method, {}), "", "the default needs it");
});

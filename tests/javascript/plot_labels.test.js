// @ts-check
/** Names of points in a plot can all be read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { labelsOf } from "../../app/assets/comparison_plots.js";
import { placedLabels, spaceOf } from "../../app/assets/plot_labels.js";

const within = { left: 50, right: 500, top: 0, bottom: 280 };
const touch = (/** @type {any} */ a, /** @type {any} */ b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

test("no name lies on another one, on a point or outside, however close the points are", () => {
  for (const count of [1, 5, 12, 16]) {
    const dots = Array.from({ length: count }, (_, i) => ({ label: `a method with a name ${i}`, number: i + 1, x: 300 + 7 * (i % 4), y: 60 + 5 * i }));
    const labels = placedLabels(dots, within);
    const spaces = labels.flatMap((label) => (label ? [spaceOf(label)] : []));
    spaces.forEach((space, i) => {
      assert.ok(space.left >= within.left && space.right <= within.right && space.top >= within.top);
      assert.ok(!spaces.some((other, k) => k !== i && touch(space, other)), `${count} points: name ${i} is covered`);
      assert.ok(!dots.some(({ x, y }) => touch(space, { left: x - 3, right: x + 3, top: y - 3, bottom: y + 3 })));
    });
    labels.forEach((label, i) => assert.ok(label === null || [dots[i].label, String(i + 1)].includes(label.words)));
  }
});

test("a name stands beside its point, on the left where there is no room on the right", () => {
  const [alone] = placedLabels([{ label: "DDIM", number: 1, x: 100, y: 100 }], within);
  assert.deepEqual([alone?.words, alone?.anchor], ["DDIM", "start"]);
  const [edge] = placedLabels([{ label: "DDIM inversion", number: 1, x: 495, y: 100 }], within);
  assert.deepEqual([edge?.words, edge?.anchor], ["DDIM inversion", "end"]);
});

test("a line that is drawn strikes no name through", () => {
  const line = [{ x: 100, y: 100 }, { x: 400, y: 100 }];
  const labels = placedLabels(line.map((place) => ({ label: "a", number: 1, ...place })), within, line);
  labels.forEach((label) => assert.ok(label && !(spaceOf(label).top < 101 && spaceOf(label).bottom > 100 && label.x > 100 && label.x < 400)));
});

test("many points whose names do not all have room are numbered, all of them; a few keep their names", () => {
  const dots = (/** @type {number} */ count) => Array.from({ length: count }, (_, i) => ({
    label: "ControlNet (depth, edges) · weight 0.25 · DPM++ 2M", number: i + 3, x: 300 + 9 * (i % 4), y: 40 + 14 * i,
  }));
  const found = labelsOf(dots(16), within, []).flatMap((label) => label?.words ?? []);
  assert.ok(found.length > 12 && found.every((words) => /^[0-9]+$/.test(words)) && found.includes("3"));
  assert.ok(labelsOf(dots(2), within, []).some((label) => label?.words.startsWith("ControlNet")));
});

// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  between, clamp, fraction, isOutside, isSlip, nearest, partAt, pathThrough, percentOf, placeIn, rangeOf, scale, turned, withoutOverlap,
} from "../../app/assets/geometry.js";

test("a number stays inside its bounds, and a fraction has three digits", () => {
  assert.equal(clamp(5, 0, 3), 3);
  assert.equal(clamp(-1, 0, 3), 0);
  assert.equal(clamp(2, 0, 3), 2);
  assert.equal(fraction(1 / 3), 0.333);
  assert.equal(fraction(-0.2), 0);
  assert.equal(fraction(1.0004), 1);
});

test("per cent of a range, also of one without width", () => {
  assert.equal(percentOf(3, 2, 4), 50);
  assert.equal(percentOf(2, 2, 2), 0);
  assert.equal(percentOf(0, 0, -1), -0);
});

test("a pointer's place is a fraction of the box, and stays inside it", () => {
  const box = { left: 100, top: 50, width: 200, height: 400 };
  assert.deepEqual(placeIn({ clientX: 150, clientY: 250 }, box), { x: 0.25, y: 0.5 });
  assert.deepEqual(placeIn({ clientX: 0, clientY: 999 }, box), { x: 0, y: 1 });
});

test("the part of a length: its edges belong to the part that begins there, and outside is the first or the last", () => {
  assert.equal(partAt(0, 100, 5), 0);
  assert.equal(partAt(20, 100, 5), 1);
  assert.equal(partAt(100, 100, 5), 4);
  assert.equal(partAt(-3, 100, 5), 0);
  assert.equal(partAt(1e9, 100, 5), 4);
});

test("a box is the same whichever way it is dragged; a slip is one that is thin in either direction", () => {
  const a = { x: 0.8, y: 0.1 }, b = { x: 0.2, y: 0.6 };
  assert.deepEqual(between(a, b), { left: 0.2, top: 0.1, right: 0.8, bottom: 0.6 });
  assert.deepEqual(between(a, b), between(b, a));
  assert.equal(isSlip(between(a, a)), true);
  assert.equal(isSlip({ left: 0, right: 1, top: 0.5, bottom: 0.52 }), true);
  assert.equal(isSlip(between(a, b)), false);
});

test("a range has a margin also where all values are equal", () => {
  assert.deepEqual(rangeOf([3, 1, 2]), [1, 3]);
  assert.deepEqual(rangeOf([0, 10], 0.1), [-1, 11]);
  assert.deepEqual(rangeOf([7], 0.1), [6.9, 7.1]);
});

test("scales: straight, turned over, logarithmic, without width", () => {
  assert.equal(scale([0, 10], [0, 100])(2.5), 25);
  assert.equal(scale([0, 10], [100, 0])(2.5), 75);
  assert.equal(scale([1, 100], [0, 2], true)(10), 1);
  assert.equal(scale([4, 4], [10, 20])(4), 15);
  assert.equal(scale([0, 1], [0, 1])(2), 2, "it does not clamp");
});

test("a path through points", () => {
  assert.equal(pathThrough([]), "");
  assert.equal(pathThrough([[1, 2]]), "M1.0 2.0");
  assert.equal(pathThrough([[0, 0], [1.26, -3.04]]), "M0.0 0.0L1.3 -3.0");
});

test("the nearest point, the first of several equally near, none of none", () => {
  assert.equal(nearest([], 0, 0), null);
  assert.deepEqual(nearest([[3, 4], [9, 9]], 0, 0), { index: 0, distance: 5 });
  assert.equal(nearest([[1, 0], [-1, 0]], 0, 0)?.index, 0);
});

test("labels do not touch, and move as little as they must", () => {
  assert.deepEqual(withoutOverlap([10, 50], 12), [10, 50]);
  assert.deepEqual(withoutOverlap([10, 10, 10], 12), [10, 22, 34]);
  assert.deepEqual(withoutOverlap([0, 12], 12), [0, 12], "side by side is not touching");
  for (const start of [0.1, 0.7, 1e-3, 123.456]) { // where start + 12 - start is not 12 in floating point
    const places = withoutOverlap(Array.from({ length: 20 }, () => start), 12).sort((a, b) => a - b);
    places.slice(1).forEach((y, i) => assert.ok(y - places[i] > 11.99));
  }
});

test("a turn about both axes keeps lengths, and none leaves the front as it is", () => {
  assert.deepEqual(turned([0.5, -0.25], [0, 0]), [0.5, -0.25]);
  assert.deepEqual(turned([0.5], [0, 0]), [0.5, 0], "a missing coordinate is 0");
  const [x, y] = turned([1, 0, 0], [Math.PI / 2, 0]);
  assert.ok(Math.abs(x) < 1e-12 && Math.abs(y) < 1e-12, "seen from its end");
  const [, up] = turned([0, 0, 1], [0, -Math.PI / 2]);
  assert.ok(Math.abs(up - 1) < 1e-12);
});

test("a number is outside its field's range, or is none", () => {
  const range = { min: "1", max: "20" };
  for (const value of ["1", "20", "7.5"]) assert.ok(!isOutside({ value, ...range }), value);
  for (const value of ["0.9", "21", "-3", ""]) assert.ok(isOutside({ value, ...range }), value);
  assert.ok(!isOutside({ value: "-1e9", min: "", max: "20" }));
  assert.ok(!isOutside({ value: "1e9", min: "1", max: "" }));
});

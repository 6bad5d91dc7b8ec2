// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { between, cost, counted, curvePoints, fileName, matches, measured, plain, selectedWords, short, withPoint } from "../../app/assets/format.js";

test("a number without what floating point adds", () => {
  assert.equal(plain(0.1 + 0.2), "0.3");
  assert.equal(plain(7), "7");
  assert.equal(plain(-0.0000001), "0");
});

test("short numbers: four digits, powers of ten at both ends, a dash for none", () => {
  assert.equal(short(3.14159), "3.142");
  assert.equal(short(0), "0");
  assert.equal(short(999.94), "999.9");
  assert.equal(short(1000), "1.00e+3");
  assert.equal(short(-0.0005), "-5.00e-4");
  for (const unknown of [null, undefined, NaN]) assert.equal(short(unknown), "-");
});

test("a measure has its digits and its unit, where it has one", () => {
  assert.equal(measured({ digits: 1, unit: "dB" }, 21.06), "21.1 dB");
  assert.equal(measured({ digits: 0, unit: "%" }, 99.6), "100 %");
  assert.equal(measured({ digits: 3, unit: "" }, 0.5), "0.500");
});

test("one is one, all others are many", () => {
  assert.equal(counted(1, "vote"), "1 vote");
  assert.equal(counted(0, "vote"), "0 votes");
  assert.equal(counted(2, "axis", "axes"), "2 axes");
});

test("a cost names backward passes only where there were any", () => {
  assert.equal(cost({ seconds: 1.26, nfe: 20, gradients: 0 }), "1.3 s · 20 evaluations");
  assert.equal(cost({ seconds: 10, nfe: 8, gradients: 1 }), "10.0 s · 8 evaluations · 1 backward pass");
});

test("a title becomes a file's name, whatever stands in it", () => {
  assert.equal(fileName("Deviation from the chord", "svg"), "deviation-from-the-chord.svg");
  assert.equal(fileName("../../etc: 100 %", "png"), "etc-100.png");
  assert.equal(fileName("Δ", "png"), "plot.png");
});

test("a curve is pairs of numbers, and nothing else is", () => {
  assert.deepEqual(curvePoints("0:1, 0.4:1, 0.6:0"), [[0, 1], [0.4, 1], [0.6, 0]]);
  assert.deepEqual(curvePoints(" 0 : -1 "), [[0, -1]]);
  for (const wrong of ["", "0:1,", "0.5", "0:1:2", "0:", ":1", "0:one", "0:Infinity", "0:1; 1:0"]) {
    assert.equal(curvePoints(wrong), null, wrong);
  }
});

test("typed words are found in any order, in any case, and nothing typed is found everywhere", () => {
  assert.ok(matches("low FREQ", "Frequencies: the low ones"));
  assert.ok(matches("  ", "anything"));
  assert.ok(!matches("low high", "the low ones"));
  assert.ok(matches("a.*b(", "literally a.*b( here"), "no regular expression");
});

test("a pasted number with a decimal comma gets a point; anything else is left as it is", () => {
  assert.equal(withPoint("7,5"), "7.5");
  assert.equal(withPoint(" -0,25 "), "-0.25");
  for (const other of ["7.5", "1,000,000", "7,5 steps", "", undefined]) assert.ok(!withPoint(other), `${other}`);
});

test("what lies between two cards, whichever was ticked first", () => {
  const all = ["9", "7", "5", "3"];
  assert.deepEqual(between(all, "7", "3"), ["7", "5", "3"]);
  assert.deepEqual(between(all, "3", "7"), ["7", "5", "3"]);
  assert.deepEqual(between(all, "5", "5"), ["5"]);
  assert.deepEqual(between(all, "of another page", "7"), ["7"]);
  assert.equal(selectedWords(3, 3), "3 selected");
  assert.equal(selectedWords(3, 1), "3 selected, 2 of them not on this page");
});

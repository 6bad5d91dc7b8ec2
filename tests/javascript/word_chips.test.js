// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { spaced } from "../../app/assets/word_chips.js";

test("a word is written with a space on each side that lacks one", () => {
  assert.equal(spaced("", 0, 0, "a cube"), "a cube");
  assert.equal(spaced("a red", 5, 5, "cube"), " cube");
  assert.equal(spaced("a red ", 6, 6, "cube"), "cube");
  assert.equal(spaced("a cube", 2, 2, "red"), "red ");
  assert.equal(spaced("a cube on grass", 2, 6, "ring"), "ring");
  assert.equal(spaced("a cube, by day", 6, 6, "on sand"), " on sand");
});

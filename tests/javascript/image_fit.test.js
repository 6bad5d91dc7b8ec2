// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { FITS, fitWords, isOtherShape } from "../../app/assets/image_fit.js";

const size = (/** @type {number} */ width, /** @type {number} */ height) => ({ width, height });

test("an image of the result's shape, to a pixel, needs no choice", () => {
  for (const [image, frame] of [[size(256, 128), size(128, 64)], [size(64, 64), size(128, 128)], [size(1000, 751), size(128, 96)]]) {
    assert.equal(isOtherShape(image, frame), false);
    for (const fit of Object.keys(FITS)) assert.doesNotMatch(fitWords(image, frame, fit), /cut|stretched|filled/);
  }
  assert.ok(isOtherShape(size(640, 480), size(128, 128)) && isOtherShape(size(480, 640), size(128, 128)));
});

test("what becomes of it is said, of each way its own", () => {
  assert.equal(fitWords(size(640, 480), size(128, 128), "crop"), "640 × 480 pixels: 25 % of it, left and right, is cut off for 128 × 128.");
  assert.match(fitWords(size(480, 640), size(128, 128), "crop"), /25 % of it, above and below/);
  assert.match(fitWords(size(640, 480), size(128, 128), "pad"), /25 % of 128 × 128, above and below, is filled/);
  assert.match(fitWords(size(480, 640), size(128, 128), "pad"), /left and right, is filled/);
  assert.match(fitWords(size(640, 480), size(128, 128), "stretch"), /stretched to 128 × 128: 1\.33 times as high/);
  assert.match(fitWords(size(480, 640), size(128, 128), "stretch"), /1\.33 times as wide/);
});

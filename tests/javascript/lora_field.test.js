// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { tagsOf, toggled } from "../../app/assets/lora_field.js";

test("a file is written into the text, and taken out of it again", () => {
  assert.equal(toggled("", "ink"), "<lora:ink:1>");
  assert.equal(toggled("<lora:night:0.5>", "ink"), "<lora:night:0.5> <lora:ink:1>");
  assert.equal(toggled("<lora:night:0.5> <lora:ink:0:1, 0.5:0> <lora:a b:1>", "ink"), "<lora:night:0.5> <lora:a b:1>");
  assert.equal(toggled("<lora:ink:1><lora:ink:2>", "ink"), "");
  assert.equal(toggled("<lora:inky:1>", "ink"), "<lora:inky:1> <lora:ink:1>", "names are compared whole");
});

test("names stand before the first colon", () => {
  assert.deepEqual(tagsOf("a < lora : ink :te=1:unet=0> <b> <lyco:x/y>").map(({ name }) => name), ["ink", "x/y"]);
});

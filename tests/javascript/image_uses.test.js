// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { usesOfImage, withImage } from "../../app/assets/image_uses.js";
import { newCard } from "../../app/assets/stack_model.js";

/** @import { Catalogue, DegradationValue } from "../../app/assets/server.d.ts" */

const use = (/** @type {string} */ method, /** @type {string} */ input, /** @type {string[]} */ needs = []) =>
  ({ title: method, summary: "", method, input, knobs: {}, needs });
const book = /** @type {Catalogue} */ (/** @type {unknown} */ ({
  image_uses: [use("sdedit", "source"), use("controlnet", "edges", ["controlnet", "controlnet:edges"])],
  methods: {
    sdedit: { title: "SDEdit", inputs: [{ name: "source", label: "Image", kind: "image", help: "" }] },
    repaint: { title: "RePaint", inputs: [
      { name: "known", label: "Image", kind: "image", help: "Around it" }, { name: "mask", label: "Mask", kind: "mask", help: "" },
    ] },
  },
}));
/** @type {DegradationValue} */
const USUAL = { image: "", name: "blur", parameters: {} };

test("only what the network can do is offered, in the order in which people want it", () => {
  const methods = (/** @type {string[] | null} */ offers) => usesOfImage(book, offers, []).map((one) => one.method);
  assert.deepEqual(methods(null), ["sdedit", "controlnet"], "while it is not known, everything");
  assert.deepEqual(methods(["controlnet", "controlnet:edges"]), ["sdedit", "controlnet"]);
  assert.deepEqual(methods(["controlnet", "controlnet:depth"]), ["sdedit"], "a ControlNet of another kind does not help");
});

test("methods that are in the stack take it, too: their images, not their masks", () => {
  const found = usesOfImage(book, [], [newCard("repaint"), newCard("sdedit"), newCard("of another version")]);
  assert.deepEqual(found.map(({ title }) => title), ["sdedit", "RePaint: Image"]);
});

test("the method is added where it is missing, and opened alone; what was there stays", () => {
  const before = [{ ...newCard("ilvr"), inputs: { reference: "old" } }];
  const [ilvr, sdedit] = withImage(before, use("sdedit", "source"), "image", "sha", USUAL);
  assert.deepEqual([ilvr.inputs, ilvr.open], [{ reference: "old" }, false]);
  assert.deepEqual([sdedit.inputs, sdedit.open], [{ source: "sha" }, true]);
  assert.equal(before[0].open, true, "the cards that were given are as they were");
});

test("in a card that is there the image takes its place, knobs are set, and a muted card acts again", () => {
  const card = { ...newCard("controlnet"), muted: true, knobs: { start: 0.5 }, inputs: { edges: "old", depth: "map" } };
  const [after] = withImage([card], { ...use("controlnet", "edges"), knobs: { edges_by: "canny" } }, "map", "sha", USUAL);
  assert.deepEqual([after.inputs, after.knobs, after.muted], [{ edges: "sha", depth: "map" }, { start: 0.5, edges_by: "canny" }, false]);
});

test("a degradation keeps what was chosen; of several images it is one more", () => {
  const given = (/** @type {any} */ now, /** @type {string} */ kind) =>
    withImage([{ ...newCard("m"), inputs: now === undefined ? {} : { i: now } }], use("m", "i"), kind, "sha", USUAL)[0].inputs.i;
  assert.deepEqual(given(undefined, "operator"), { ...USUAL, image: "sha" });
  assert.deepEqual(given({ name: "jpeg", image: "old", sigma_y: 0.1 }, "operator"), { name: "jpeg", image: "sha", sigma_y: 0.1 });
  assert.deepEqual(given(["a"], "references"), ["a", "sha"]);
});

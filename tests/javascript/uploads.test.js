// @ts-check
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { learn } from "../../app/assets/page_state.js";
import { upload } from "../../app/assets/uploads.js";

const asked = /** @type {string[]} */ ([]), before = globalThis.fetch;
afterEach(() => { globalThis.fetch = before; });

test("an image that is given before the server has said whose visit this is goes out once it has", async () => {
  globalThis.fetch = async (address) => { asked.push(String(address)); return Response.json({ sha256: "ab", width: 4, height: 4 }); };
  const sent = upload(new Blob(["an image"]), "methods.0.inputs.reference");
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.deepEqual(asked, []);
  learn({ visit_token: "mine", backbone: "", model: "", offers: null, problems: {}, notes: {}, unused: {}, wrong: [], loras: null, takes_loras: false });
  assert.equal(await sent, "ab");
  assert.deepEqual(asked, ["inputs?visit_token=mine"]);
});

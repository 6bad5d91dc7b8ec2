// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { merged, tabOf } from "../../app/assets/visit.js";

test("new ids stand before those of before, each once", () => {
  assert.deepEqual(merged([["3", "c"]], [["2", "b"], ["1", "a"]]), [["3", "c"], ["2", "b"], ["1", "a"]]);
  assert.deepEqual(merged([["1", "new"]], [["2", "b"], ["1", "a"]]), [["1", "new"], ["2", "b"]]);
  assert.deepEqual(merged([], []), []);
});

test("of very many ids the newest are kept", () => {
  /** @type {[string, string][]} */
  const many = Array.from({ length: 1500 }, (_, i) => [String(i), ""]);
  const kept = merged([["new", ""]], many);
  assert.equal(kept.length, 1000);
  assert.equal(kept[0]?.[0], "new");
});

test("the tab that an address names; Create where it names none", () => {
  assert.equal(tabOf("#compare?id=1"), "compare");
  assert.equal(tabOf("#history"), "history");
  assert.equal(tabOf(""), "create");
  assert.equal(tabOf("#"), "create");
});

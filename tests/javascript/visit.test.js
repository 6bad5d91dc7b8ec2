// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { merged, ownChanges, tabOf } from "../../app/assets/visit.js";

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

test("a person's own are the fields that changed since; a knob goes with its solver; what was never there is nobody's", () => {
  const isOwn = ownChanges({ prompt: "", steps: 10, sampler: "euler" }, { prompt: "", steps: 20, sampler: "heun", width: 64 });
  assert.deepEqual(["prompt", "steps", "sampler", "sampler.knobs.eta", "width"].filter(isOwn), ["steps", "sampler", "sampler.knobs.eta"]);
});

/** Doubles of what a page has, and the module as such a page loads it. @param {string} name of the page @param {object} settings kept @param {number} steps in its control */
async function opened(name, settings, hash = "", steps = 10) {
  const storage = () => {
    /** @type {Record<string, string>} */
    const kept = {};
    return { getItem: (/** @type {string} */ key) => kept[key] ?? null, setItem: (/** @type {string} */ key, /** @type {string} */ value) => { kept[key] = value; } };
  };
  const location = { hash }, localStorage = storage(), sessionStorage = storage();
  const history = { pushState: (/** @type {unknown} */ _state, /** @type {string} */ _title, /** @type {string} */ address) => { location.hash = address; } };
  const made = { setAttribute: () => {}, append: () => {}, remove: () => {} };
  const document = { querySelector: () => null, createElement: () => made, body: made };
  let move = () => {};
  const addEventListener = (/** @type {string} */ event, /** @type {() => void} */ listener) => { if (event === "popstate") move = listener; };
  Object.assign(globalThis, { location, localStorage, sessionStorage, history, document, HTMLButtonElement: class {}, addEventListener });
  localStorage.setItem("nine-ways-visit", JSON.stringify({ settings }));
  /** @type {typeof import("../../app/assets/visit.js")} */
  const page = await import(`../../app/assets/visit.js?${name}`);
  page.remember(["prompt", "steps"], "", steps); // what a page begins with
  page.rememberBeside(["rows"], "seed");
  /** @type {[string, any][]} */
  const sent = [];
  page.mount({ element: /** @type {any} */ (null), props: { value: "" }, watch: () => {}, trigger: (event, data) => { sent.push([event, data]); } });
  const kept = () => JSON.parse(localStorage.getItem("nine-ways-visit") ?? "").settings;
  /** Back or Forward to an address. @param {string} hash */
  const moveTo = async (hash) => { location.hash = hash; move(); await Promise.resolve(); };
  return { page, sent, location, kept, moveTo };
}
const answer = (/** @type {object} */ fields, tab = "create") => JSON.stringify({ fields, tab });
const NAMES = ["prompt", "steps", "rows"];

test("what a person changed before a late answer stays, in the controls and in the browser; the rest is as it was kept", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { page, sent, kept } = await opened("late", { prompt: "before", steps: 33, rows: "steps" });
  assert.deepEqual(sent[0][1].settings, { prompt: "before", steps: 33, rows: "steps" });
  page.remember(["prompt", "steps"], "", 10); // once more, of the page's load
  assert.deepEqual(kept(), { prompt: "before", steps: 33, rows: "steps" }, "a second reload would find it");
  page.remember(["prompt", "steps"], "typed", 10);
  assert.deepEqual(kept(), { prompt: "typed", steps: 33, rows: "steps" });
  const begun = page.whenReturned("a run");
  const placed = page.place(NAMES, answer({ prompt: "before", steps: 33, rows: "steps" }), "typed", 10, "seed");
  assert.deepEqual(placed, [{ __type__: "update", selected: "create" }, undefined, 33, "steps"]);
  t.mock.timers.tick(100);
  assert.deepEqual(await begun, ["a run"], "and no sooner: it would belong to no visit");
  page.remember(["prompt", "steps"], "typed", 33);
  assert.ok(page.undo());
  assert.deepEqual(sent.at(-1), ["settings", { settings: { prompt: "before", steps: 33 } }], "what was kept, but for what was typed");
  assert.equal(page.undo(), false);
});

test("what a person changed before the page had looked at its controls is a person's, too", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { page, kept } = await opened("very quick", { prompt: "before", steps: 33 }, "", 12);
  page.begin({ prompt: "", steps: 10, rows: "seed" });
  page.remember(["prompt", "steps"], "", 12);
  assert.deepEqual(kept(), { prompt: "before", steps: 12, rows: "seed" }, "a second reload would find it");
  const placed = page.place(NAMES, answer({ prompt: "before", steps: 33, rows: "seed" }), "", 12, "seed");
  assert.deepEqual(placed.slice(1), ["before", undefined, undefined], "what is there already is not written again");
});

test("the tab that a person chose meanwhile stays in view, and is in the address", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { page, location } = await opened("tab", {}, "#compare?id=1");
  page.tabChosen("create"); // as it was
  page.tabChosen("history");
  assert.equal(page.place(NAMES, answer({}, "compare"), "", 10, "seed")[0], undefined);
  t.mock.timers.tick(100);
  assert.equal(location.hash, "#history");
  const other = await opened("no tab", {}, "#compare?id=1");
  assert.deepEqual(other.page.place(NAMES, answer({}, "compare"), "", 10, "seed")[0], { __type__: "update", selected: "compare" });
});

test("Forward before the page has noticed what Back brought: what Back brought is not taken for what a person typed", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { page, sent, moveTo } = await opened("forward", {});
  page.place(NAMES, answer({}), "", 10, "seed");
  t.mock.timers.tick(100);
  page.remember(["prompt", "steps"], "second", 10);
  page.rememberBeside(["rows"], "steps");
  await moveTo("#create?first");
  const first = { prompt: "first", steps: { __type__: "update", value: 2 }, rows: "seed" }, second = { prompt: "second", steps: 10, rows: "steps" };
  assert.deepEqual(page.place(NAMES, answer(first), "second", 10, "steps").slice(1), [first.prompt, first.steps, first.rows]);
  await moveTo("#create?second"); // and only then do the controls tell that they have changed
  page.remember(["prompt", "steps"], "first", 2);
  page.rememberBeside(["rows"], "seed");
  assert.deepEqual(page.place(NAMES, answer(second), "first", 2, "seed").slice(1), ["second", 10, "steps"]);
  page.remember(["prompt", "steps"], "second", 10);
  await moveTo("#create?first"); // and Back again, before the answer to which Forward is pressed
  await moveTo("#create?second");
  assert.deepEqual(page.place(NAMES, answer(first), "second", 10, "steps").slice(1), [first.prompt, first.steps, first.rows]);
  assert.deepEqual(page.place(NAMES, answer(second), "first", 2, "seed").slice(1), ["second", 10, "steps"]);
  page.remember(["prompt", "steps"], "typed", 10); // but this a person did
  await moveTo("#create?first");
  page.remember(["prompt", "steps"], "typed since", 10);
  assert.deepEqual(page.place(NAMES, answer(first), "typed since", 10, "steps").slice(1), [undefined, first.steps, first.rows]);
  assert.deepEqual(sent.filter(([event]) => event === "go").length, 5);
});

test("a page that gets no answer goes on, and keeps what it did not get back", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { page, kept } = await opened("no answer", { prompt: "before", steps: 33 });
  const begun = page.whenReturned();
  t.mock.timers.tick(60_000);
  assert.deepEqual(await begun, []);
  assert.deepEqual({ prompt: kept().prompt, steps: kept().steps }, { prompt: "before", steps: 33 });
});

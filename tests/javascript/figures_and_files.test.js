// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { pageWith } from "./page_double.js";

/** @import { Trajectories, WholeComparison } from "../../app/assets/server.d.ts" */
/** @import { Double } from "./page_double.js" */

const { body } = pageWith();
const { curvesSection } = await import("../../app/assets/trajectory_curves.js");
const { fileLink } = await import("../../app/assets/file_link.js");
const { comparisonGrid } = await import("../../app/assets/comparison_grid.js");

/** What a script drew, in the page. @param {Element} drawn */
function shown(drawn) {
  const one = /** @type {Double} */ (/** @type {unknown} */ (drawn));
  body.replaceChildren(one);
  return one;
}

test("of the charts the first is open, each has its sentence, and what a person opened or closed stays so", () => {
  const look = (/** @type {string} */ title) => ({ title, unit: "px", of: "all", log: false, says: `What ${title} says.` });
  const run = { sigmas: [3, 1, 0], figures: { a: [1, 2, 3], b: [3, 2, 1], c: [1, 1, 2] }, apart: null };
  const trajectories = /** @type {Trajectories} */ (/** @type {unknown} */ ({ figures: { a: look("First"), b: look("Second"), c: look("Third") }, runs: [run] }));
  const cursor = { stepOf: () => 0, go: () => {}, onMove: (/** @type {() => void} */ handle) => handle() };
  const draw = () => shown(curvesSection(trajectories, cursor, () => {})).querySelectorAll("details");
  const charts = draw();
  assert.deepEqual(charts.map((one) => one.open), [true, false, false]);
  assert.deepEqual(charts.map((one) => one.querySelector("p")?.textContent), ["What First says.", "What Second says.", "What Third says."]);
  for (const at of [0, 2]) {
    charts[at].open = !charts[at].open;
    charts[at].dispatchEvent(new Event("toggle"));
  }
  assert.deepEqual(draw().map((one) => one.open), [false, false, true], "drawn again for the next run");
});

test("what the server says of a file that it cannot make stands beside its link, and goes with the next try", async () => {
  const drawn = shown(fileLink("compare/3.png", "Image"));
  const [link, trouble] = [drawn.querySelector("a"), drawn.querySelector("[role=alert]")];
  assert.ok(link && trouble && trouble.hidden);
  const press = async () => {
    link.click();
    assert.ok(link.hasAttribute("aria-busy"));
    await new Promise((resolve) => { setTimeout(resolve); });
    assert.ok(!link.hasAttribute("aria-busy"));
  };
  Object.assign(globalThis, { fetch: async () => new Response("The title has letters that no font here draws.", { status: 500 }) });
  await press();
  assert.ok(!trouble.hidden);
  assert.equal(trouble.textContent, "Image: The title has letters that no font here draws.");
  Object.assign(globalThis, { fetch: async () => { throw new TypeError("Failed to fetch"); } });
  await press();
  assert.equal(trouble.textContent, "Image: the server cannot be reached. Try again.");
  const made = URL.createObjectURL;
  URL.createObjectURL = () => "blob:made";
  Object.assign(globalThis, { fetch: async () => new Response("bytes") });
  await press();
  URL.createObjectURL = made;
  assert.ok(trouble.hidden);
});

/** A comparison of so many columns, all of its cells made. @param {number} columns */
function compared(columns) {
  const cells = Array.from({ length: columns }, (_, i) => ({ place: [i], key: String(i), aspect: 1, conditions: [] }));
  const labels = cells.map(({ key }) => `Sampler ${key}`);
  const result = (/** @type {string} */ key) => ({ figures: { solids: 0 }, seconds: 1, nfe: 20, gradients: 0, seen: key === "0" ? "2 solids: a red cube, a blue sphere" : "" });
  const states = Object.fromEntries(cells.map(({ key }) => [key, { status: "done", image: `${key}.png`, result: result(key) }]));
  const measures = { solids: { key: "solids", title: "Solid accuracy", unit: "%", better: "more", of: "" } };
  return /** @type {WholeComparison} */ (/** @type {unknown} */ ({
    axes: [{ labels }], cells, states, measures, glyphs: labels.map(() => ""), title: "All", without_condition: [], condition: "", given: {}, summary: null,
  }));
}

/** @param {number} columns */
const grid = (columns) => comparisonGrid(compared(columns), { sortedBy: "", tab: "", chosen: [], choose: () => {} });

test("a cell says what the evaluator saw, so that 0 % can be understood", () => {
  const [first, second] = shown(grid(2).element).querySelectorAll("figure figcaption");
  assert.equal(first?.querySelector(".nw-seen")?.textContent, "2 solids: a red cube, a blue sphere");
  assert.match(first?.textContent ?? "", /Solid accuracy 0 %/);
  assert.equal(second?.querySelector(".nw-seen"), null);
});

test("many columns are laid out as many", () => {
  for (const [columns, isWide] of /** @type {[number, boolean][]} */ ([[4, false], [12, true], [16, true]])) {
    const made = grid(columns);
    assert.equal(made.isWide, isWide);
    const table = shown(made.element);
    assert.match(table.getAttribute("style") ?? "", new RegExp(`--columns:${columns};`));
    assert.equal(table.querySelectorAll(".nw-heads [role=columnheader]").length, 1 + columns);
  }
});

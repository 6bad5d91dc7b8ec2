// @ts-check
/** What holds for every module: checked, small, and no two that import one another. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const FOLDER = new URL("../../app/assets/", import.meta.url);
/** @type {Map<string, string>} */
const modules = new Map(readdirSync(FOLDER).filter((name) => name.endsWith(".js")).map((name) => [name, readFileSync(new URL(name, FOLDER), "utf8")]));
const imports = (/** @type {string} */ text) => [...text.matchAll(/^import [^;]*? from "\.\/([\w.]+)";/gms)].map(([, name]) => name);

test("each begins with // @ts-check and says what it is for", () => {
  for (const [name, text] of modules) assert.match(text, /^\/\/ @ts-check\n\/\*\*/, name);
});

test("imports are of files that are there, and nothing is imported from elsewhere", () => {
  for (const [name, text] of modules) {
    for (const other of imports(text)) assert.ok(modules.has(other), `${name} imports ${other}`);
    assert.doesNotMatch(text, /^import .* from "(?!\.\/)/m, name);
  }
});

test("no circle of imports", () => {
  /** @type {(name: string, way: string[]) => void} */
  const follow = (name, way) => {
    assert.ok(!way.includes(name), `a circle: ${[...way, name].join(" -> ")}`);
    for (const other of imports(modules.get(name) ?? "")) follow(other, [...way, name]);
  };
  for (const name of modules.keys()) follow(name, []);
});

test("what is private to Gradio is written in gradio.js alone", () => {
  for (const [name, text] of modules) {
    if (name !== "gradio.js") assert.doesNotMatch(text, /gradio-container|label-wrap|data-testid|svelte|\.options\b.*listbox|tab-nav/, name);
  }
});

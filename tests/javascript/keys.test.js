// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Double, pageWith } from "./page_double.js";

const button = (/** @type {string} */ id) => new Double("button", { id });
const tab = (/** @type {string[]} */ ...ids) => new Double("div", { hidden: "" }, ...ids.map(button));
const TABS = {
  create: tab("generate", "cancel", "undo"), compare: tab("compare-make", "compare-cancel"),
  trajectory: tab("follow", "follow-cancel"), history: tab(),
};
const { body, pressed } = pageWith(...Object.values(TABS));
Object.assign(globalThis, { matchMedia: () => ({ matches: false, addEventListener: () => {} }), localStorage: { getItem: () => null, setItem: () => {} } });
/** @type {string[]} */
const done = [];
for (const one of body.querySelectorAll("button")) one.addEventListener("click", () => { done.push(one.id); });
await import("../../app/assets/page.js");

/** What a key presses while a tab is in view. @param {keyof typeof TABS} name @param {string} key @param {object} [more] */
function on(name, key, more) {
  for (const [other, one] of Object.entries(TABS)) one.hidden = other !== name;
  done.length = 0;
  const taken = pressed(key, more);
  return [...done, taken ? "taken" : "left"];
}

test("Ctrl+Enter makes what the tab in view makes, and an image where that makes nothing", () => {
  assert.deepEqual(on("create", "Enter", { ctrlKey: true }), ["generate", "taken"]);
  assert.deepEqual(on("compare", "Enter", { metaKey: true }), ["compare-make", "taken"]);
  assert.deepEqual(on("trajectory", "Enter", { ctrlKey: true }), ["follow", "taken"]);
  assert.deepEqual(on("history", "Enter", { ctrlKey: true }), ["generate", "taken"]);
  assert.deepEqual(on("compare", "Enter"), ["left"]);
});

test("Esc cancels what runs on the tab in view; else the run of Create, from every tab", () => {
  assert.deepEqual(on("create", "Escape"), ["cancel", "taken"]);
  assert.deepEqual(on("compare", "Escape"), ["compare-cancel", "taken"]);
  assert.deepEqual(on("trajectory", "Escape"), ["follow-cancel", "taken"]);
  assert.deepEqual(on("history", "Escape"), ["cancel", "taken"]);
  for (const one of body.querySelectorAll("#compare-cancel, #follow-cancel")) one.disabled = true; // nothing of theirs runs
  assert.deepEqual(on("compare", "Escape"), ["cancel", "taken"]);
  assert.deepEqual(on("trajectory", "Escape"), ["cancel", "taken"]);
  for (const one of body.querySelectorAll("#cancel")) one.disabled = true;
  assert.deepEqual(on("history", "Escape"), ["left"]);
});

test("an open dialog or list has its Esc to itself", () => {
  for (const one of body.querySelectorAll("#cancel")) one.disabled = false;
  for (const open of [new Double("dialog", { open: "" }), new Double("ul", { role: "listbox" })]) {
    body.append(open);
    assert.deepEqual(on("create", "Escape"), ["left"]);
    open.remove();
  }
  assert.deepEqual(on("create", "Escape"), ["cancel", "taken"]);
});

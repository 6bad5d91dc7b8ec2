// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { Double, pageWith } from "./page_double.js";

test("on every other tab the header says how far the run of Create is, and cancels it; on Create only the title does", async () => {
  const status = new Double("p", { class: "nw-status" }, "Step 3", "\n of 9"), run = new Double("section", { class: "nw-stage", "data-state": "running" }, status);
  const stage = new Double("div", { id: "stage" }, run), cancel = new Double("button", { id: "cancel" });
  const create = new Double("div", { hidden: "" }, stage, cancel), tabs = new Double("div", { id: "nw-tabs" }, create);
  const { body, document, changed } = pageWith(new Double("main", {}, tabs));
  let cancelled = 0;
  cancel.addEventListener("click", () => { cancelled += 1; });
  const { watchRun } = await import("../../app/assets/running.js");
  watchRun();
  await new Promise((resolve) => { setTimeout(resolve); });
  changed();
  const sign = body.querySelector(".nw-running");
  assert.ok(sign);
  assert.equal(sign.hidden, false);
  assert.equal(sign.querySelector("[role=status]")?.textContent, "Create: Step 3 of 9");
  assert.equal(document.title, "Step 3 of 9 · Nine Ways");
  sign.querySelector("button")?.click();
  assert.equal(cancelled, 1, "though its own button is on a tab that is not in view");
  create.hidden = false;
  changed();
  assert.equal(sign.hidden, true, "the stage is there to be seen");
  assert.equal(document.title, "Step 3 of 9 · Nine Ways");
  create.hidden = true;
  run.setAttribute("data-state", "done");
  changed();
  assert.equal(sign.hidden, true);
  assert.equal(document.title, "Nine Ways");
});

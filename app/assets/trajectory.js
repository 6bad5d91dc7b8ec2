// @ts-check
/** The board of the tab Trajectory: the runs at one step, film strips, paths and curves, all at the step of one slider. */
import { actButton, element, find } from "./element.js";
import { fileLink } from "./file_link.js";
import { counted, short } from "./format.js";
import { clamp, partAt } from "./geometry.js";
import { onValue } from "./gradio.js";
import { hue, stepsOf } from "./trajectory_cursor.js";
import { curvesSection } from "./trajectory_curves.js";
import { pathsSection } from "./trajectory_paths.js";

/** @import { Component } from "./gradio.js" */
/** @import { Cursor } from "./trajectory_cursor.js" */
/** @import { Trajectories, TrajectoryProgress, TrajectoryRun, TrajectoryStopped } from "./server.d.ts" */

const STORED = "A finished example that came with the app: move the step. What you follow takes its place.";

/** @type {Component | null} */
let board = null;
/** @type {Trajectories | null} */
let open = null;
let isBusy = false; // runs are under way
let at = 1; // how far along the runs, 0..1
/** @type {(() => void)[]} */
let moves = [];

/** @type {Cursor} */
const cursor = {
  stepOf: (run) => Math.round(at * stepsOf(run)),
  go: (fraction) => { at = clamp(fraction, 0, 1); moves.forEach((move) => move()); },
  onMove: (handle) => { moves.push(handle); },
};

// ---- images -------------------------------------------------------------------------------------------------------

/**
 * One frame of a strip: the one at the cursor.
 * @param {TrajectoryRun} run
 * @param {"x" | "x0"} kind
 * @param {string} name
 */
function frame(run, kind, name) {
  const { strips } = run;
  const shown = element("div", {
    class: "nw-one-frame", role: "img",
    style: `aspect-ratio:${strips.width}/${strips.height};background-image:url(${strips[kind]});background-size:${100 * strips.count}% 100%`,
  });
  cursor.onMove(() => {
    const step = cursor.stepOf(run);
    shown.style.backgroundPosition = `${(100 * step) / Math.max(strips.count - 1, 1)}% 0`;
    shown.setAttribute("aria-label", `${name} of ${run.label} at step ${step}`);
  });
  return shown;
}

/**
 * @param {Trajectories} trajectories
 * @param {TrajectoryRun} run
 * @param {number} i
 */
function runSection({ id }, run, i) {
  const status = element("p", { class: "nw-status nw-mono" });
  cursor.onMove(() => {
    const step = cursor.stepOf(run);
    status.textContent = `step ${step} of ${stepsOf(run)} · sigma ${short(run.sigmas[step])}`;
  });
  const facts = `${counted(run.nfe, "network evaluation", "network evaluations")} · ${run.seconds.toFixed(1)} s · path length ${(run.length / run.chord).toFixed(3)} of its chord`;
  const { step = null, onset = null } = run.apart ?? {};
  return element("section", { class: "nw-run", style: `--run:${hue(i)}`, "aria-label": run.label },
    element("h3", {}, element("span", { class: "nw-key", "aria-hidden": "true" }), run.label),
    element("div", { class: "nw-two" },
      element("figure", {}, frame(run, "x", "State"), element("figcaption", {}, "state x")),
      element("figure", {}, frame(run, "x0", "Denoised prediction"), element("figcaption", {}, "prediction x0"))),
    status, element("p", {}, facts),
    step !== null && element("p", {}, `Departs from the first run at step ${step}, sigma ${short(onset)}.`),
    run.attentive && actButton("Attention to words", () => board?.trigger("attention", { id, run: String(i) })));
}

/**
 * All frames of a run side by side; a click goes to one.
 * @param {TrajectoryRun} run
 * @param {"x" | "x0"} kind
 * @param {string} words
 */
function filmStrip(run, kind, words) {
  const { count, width, height } = run.strips;
  const sheet = element("img", { src: run.strips[kind], alt: `${words} of ${run.label}, ${count} frames`, draggable: "false" });
  const mark = element("span", { class: "nw-cursor" });
  const holder = element("div", {
    class: "nw-strip", tabindex: 0, role: "group", "aria-label": words, style: `--count:${count};--ratio:${width / height}`,
    onclick: (/** @type {MouseEvent} */ event) => {
      const box = sheet.getBoundingClientRect();
      cursor.go(Math.min(partAt(event.clientX - box.left, box.width, count), stepsOf(run)) / stepsOf(run));
    },
  }, element("div", {}, sheet, mark));
  cursor.onMove(() => {
    const step = cursor.stepOf(run), x = (sheet.getBoundingClientRect().width * step) / count;
    Object.assign(mark.style, { left: `${(100 * step) / count}%`, width: `${100 / count}%` });
    const box = holder.getBoundingClientRect();
    if (x < holder.scrollLeft || x > holder.scrollLeft + box.width - 80) holder.scrollLeft = x - box.width / 2;
  });
  return element("figure", {}, element("figcaption", {}, words), holder);
}

/** @param {Trajectories} trajectories */
function filmStrips({ runs }) {
  return element("section", { class: "nw-films", "aria-label": "Film strips" }, element("h3", {}, "Film strips"), ...runs.flatMap((run) => [
    filmStrip(run, "x", `${run.label}: states x, at unit scale`),
    filmStrip(run, "x0", `${run.label}: denoised predictions x0`),
  ]));
}

/** @param {Trajectories} trajectories */
function stepSlider({ runs }) {
  const longest = Math.max(...runs.map(stepsOf));
  const range = element("input", {
    type: "range", min: 0, max: longest, value: Math.round(at * longest), "aria-label": "Step", id: "path-step",
    oninput: () => cursor.go(Number(range.value) / longest),
  });
  cursor.onMove(() => {
    range.value = String(Math.round(at * longest));
    range.style.setProperty("--range_progress", `${100 * at}%`);
  });
  return element("label", { class: "nw-steps" }, "Step", range);
}

// ---- all of it ----------------------------------------------------------------------------------------------------

function draw() {
  if (!board || !open) return;
  const trajectories = open, { files } = trajectories;
  moves = [];
  board.element.replaceChildren(element("div", { class: "nw-board", "data-state": "open", "data-stored": trajectories.stored },
    element("header", { class: "nw-board-head" },
      element("div", {}, element("h2", {}, trajectories.prompt || "No prompt"), element("p", {}, trajectories.model),
        trajectories.stored && element("p", { class: "nw-quiet" }, STORED)),
      files && element("span", { class: "nw-exports" }, fileLink(files.npz, "States (npz)"), fileLink(files.csv, "Figures (CSV)"))),
    stepSlider(trajectories),
    element("div", { class: "nw-followed" }, ...trajectories.runs.map((run, i) => runSection(trajectories, run, i))),
    filmStrips(trajectories), pathsSection(trajectories, cursor), curvesSection(trajectories, cursor, draw)));
  cursor.go(at);
}

/** @param {TrajectoryProgress} progress */
export function progressWords({ busy, steps, of, first }) {
  if (!of) return "Starting";
  return first ? `${first}: ${steps} of ${of}` : `Step ${steps} of ${of}, ${busy.length} ${busy.length === 1 ? "run" : "runs"}`;
}

/** @param {TrajectoryProgress} progress */
function drawProgress(progress) {
  const { busy, steps, of } = progress;
  board?.element.replaceChildren(element("div", { class: "nw-board", "data-state": "running" }, element("h2", {}, "Running"),
    element("div", {
      class: "nw-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": of, "aria-valuenow": steps,
      "aria-label": "Progress", "data-open": of === 0,
    }, element("span", { style: of ? `width:${((100 * steps) / of).toFixed(1)}%` : null })),
    element("p", { class: "nw-status" }, progressWords(progress)), element("p", {}, busy.join(" · "))));
}

/** Draws the runs, now or as soon as there are any; before that, those that came with the app. @param {Component} component */
export function mountBoard(component) {
  board = component;
  draw();
  if (!open) void showStored();
}

async function showStored() {
  try {
    const stored = await (await fetch("opening/trajectory.json")).json();
    if (open || isBusy) return;
    [open, at] = [stored, 0.5];
    draw();
  } catch { /* the words of the empty board stay */ }
}

/** What the server says of runs. @param {Component} component */
export function mountNews(component) {
  onValue(component, (text) => {
    /** @type {Trajectories | TrajectoryProgress | TrajectoryStopped} */
    const message = JSON.parse(text);
    isBusy = "busy" in message;
    if ("busy" in message) { drawProgress(message); return; }
    if ("runs" in message) {
      [open, at] = [message, 1];
      draw();
      board?.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
    } else if (open) draw(); // stopped: what was there before
    else if (board) find(".nw-board", board.element)?.replaceChildren(element("p", {}, "No run was recorded."));
  });
}

// @ts-check
/** Attention maps: one word at one step over the image, chosen by a slider, the words, or a click into the grid of all. */
import { around, find, findAll, need } from "./element.js";
import { afterDrawing } from "./gradio.js";
import { partAt, percentOf } from "./geometry.js";

/** @import { Component } from "./gradio.js" */

/** @param {HTMLElement} body */
const sheetOf = (body) => /** @type {HTMLImageElement} */ (need(".nw-all", body));
/** @param {HTMLElement} body */
const sliderOf = (body) => /** @type {HTMLInputElement} */ (need(".nw-steps input", body));

/**
 * The colour of a map's value 0..1 over the image: dark where nobody looks, clear where the word is taken from, warm at
 * the peak.
 * @param {number} v
 * @returns {[number, number, number, number]}
 */
export function heat(v) {
  return [255 * v, 190 * v * v, 40 * v, 255 * (0.62 - 0.34 * v)];
}

/** The chosen word at the chosen step. @param {HTMLElement} body */
function draw(body) {
  const pressed = need(".nw-word[aria-pressed=true]", body), word = Number(pressed.dataset.word);
  const slider = sliderOf(body), step = Number(slider.value);
  const rows = Number(body.dataset.rows), columns = Number(body.dataset.columns);
  const sheet = sheetOf(body), canvas = /** @type {HTMLCanvasElement} */ (need("canvas", body));
  const ink = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  const w = sheet.naturalWidth / columns, h = sheet.naturalHeight / rows, { width, height } = canvas;
  ink.imageSmoothingQuality = "high";
  ink.clearRect(0, 0, width, height);
  // half a cell of its own edge is left out, so that smoothing does not bring in the neighbours
  ink.drawImage(sheet, step * w + 0.5, word * h + 0.5, w - 1, h - 1, 0, 0, width, height);
  const pixels = ink.getImageData(0, 0, width, height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set(heat(pixels.data[i] / 255), i);
  ink.putImageData(pixels, 0, 0);
  need("output", body).textContent = `${step + 1} of ${columns}, sigma ${JSON.parse(body.dataset.levels ?? "[]")[step]}`;
  slider.style.setProperty("--range_progress", `${percentOf(step, 0, columns - 1)}%`);
  Object.assign(need(".nw-cursor", body).style, {
    left: `${(100 * step) / columns}%`, top: `${(100 * word) / rows}%`, width: `${100 / columns}%`, height: `${100 / rows}%`,
  });
  canvas.setAttribute("aria-label", `Attention to ${pressed.textContent} at step ${step + 1}`);
}

/**
 * @param {HTMLElement} body
 * @param {string} word its place, as text
 */
function choose(body, word) {
  findAll(".nw-word", body).forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.word === word)));
  draw(body);
}

/** What the server drew, brought to life once its sheet has loaded. @param {HTMLElement} element */
function begin(element) {
  const body = find(".nw-maps-body", element);
  if (!body) return;
  const sheet = sheetOf(body);
  if (sheet.complete && sheet.naturalWidth) draw(body);
  else sheet.addEventListener("load", () => draw(body), { once: true });
  element.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

/** @param {Component} component */
export function mount(component) {
  const { element, trigger } = component;
  afterDrawing(component, () => begin(element));
  begin(element);
  element.addEventListener("input", (event) => {
    const body = around(event, ".nw-maps-body");
    if (body) draw(body);
  });
  element.addEventListener("click", (event) => {
    if (around(event, "[data-close]")) { trigger("close"); return; }
    const body = around(event, ".nw-maps-body"), word = around(event, ".nw-word"), grid = around(event, ".nw-sheet-maps");
    if (!body) return;
    if (word) choose(body, word.dataset.word ?? "");
    if (!grid) return;
    const box = grid.getBoundingClientRect();
    sliderOf(body).value = String(partAt(event.clientX - box.left, box.width, Number(body.dataset.columns)));
    choose(body, String(partAt(event.clientY - box.top, box.height, Number(body.dataset.rows))));
  });
}

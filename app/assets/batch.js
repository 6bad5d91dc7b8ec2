// @ts-check
/** A batch on the stage: one of its images alone and all of them again, all of them as one file. */
import { find, findAll, isShown, need } from "./element.js";
import { saveImages } from "./file_link.js";
import { showThumbnail } from "./film.js";
import { whenPresent } from "./gradio.js";

let alone = -1; // the place of the image that is looked at while all of them form

/** @param {string} selector of a thumbnail @param {Element} stage */
function show(selector, stage) {
  const film = findAll(".nw-film").find((one) => find(`#${one.dataset.stage}`)?.contains(stage));
  const thumb = film && find(selector, film);
  if (thumb) showThumbnail(thumb);
}

/** @param {Element | null} stage */
const isForming = (stage) => stage instanceof HTMLElement && ["running", "stopped"].includes(stage.dataset.state ?? "");
/** @param {Element} stage */
const cellsOf = (stage) => findAll(".nw-sheet .nw-pick", stage);

/** @param {HTMLElement} stage */
function draw(stage) {
  const cells = cellsOf(stage), on = alone >= 0 && alone < cells.length;
  find(".nw-sheet", stage)?.toggleAttribute("data-alone", on);
  cells.forEach((cell, place) => cell.toggleAttribute("data-chosen", on && place === alone));
}

/**
 * An image of a batch was chosen: made, it comes onto the stage; forming, it is shown alone, and all again at the next click.
 * @param {HTMLElement} cell
 */
export function pick(cell) {
  const stage = /** @type {HTMLElement} */ (cell.closest(".nw-stage"));
  if (!isForming(stage)) { show(`[data-of="${cell.dataset.of}"]`, stage); return; }
  alone = alone < 0 ? cellsOf(stage).indexOf(cell) : -1;
  draw(stage);
}

/** All images of the batch again. @param {HTMLElement} button */
export function back(button) {
  show(`[data-batch="${button.dataset.back}"]`, /** @type {HTMLElement} */ (button.closest(".nw-stage")));
}

/** The same, where an image of a batch is in view; whether one is. */
export function backToBatch() {
  const button = find("#stage [data-back]");
  if (!button || !isShown(button)) return false;
  back(button);
  return true;
}

/** All images of the batch in one file. @param {HTMLElement} button */
export async function saveBatch(button) {
  const stage = /** @type {HTMLElement} */ (button.closest(".nw-stage"));
  if (button.hasAttribute("aria-busy")) return; // it is being made
  button.setAttribute("aria-busy", "true");
  const { save = "", name = "" } = button.dataset;
  const addresses = findAll(".nw-pick img", stage).map((image) => image.getAttribute("src") ?? "");
  const trouble = await saveImages(save, addresses, name);
  if (trouble) need(".nw-status", stage).textContent = trouble;
  button.removeAttribute("aria-busy");
}

/** The server draws a run anew at every step: what is looked at alone stays so, until the run has ended. */
export function keepAlone() {
  void whenPresent("#stage").then((holder) => {
    new MutationObserver(() => {
      const stage = find(".nw-stage", holder);
      if (stage && !isForming(stage)) alone = -1;
      else if (stage && alone >= 0 && !find("[data-alone]", stage)) draw(stage);
    }).observe(holder, { childList: true, subtree: true, attributeFilter: ["data-alone", "data-state"] });
  });
}

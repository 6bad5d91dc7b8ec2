// @ts-check
/** The image on a stage under a slider with what it was made from: its source, its observation, its map. */
import { divide } from "./divider.js";
import { element, find, findAll, need } from "./element.js";
import { page } from "./page_state.js";

/** What is being fetched for a stage, to be given up. @type {WeakMap<HTMLElement, AbortController>} */
const underWay = new WeakMap();
let cut = 50; // where the line stands, for as long as someone walks through images

/** @param {HTMLElement} stage */
function close(stage) {
  find(".nw-before", stage)?.remove();
  for (const button of findAll("[data-before]", stage)) button.setAttribute("aria-pressed", "false");
}

/**
 * What the server makes of the image that a method was given. Fails in words.
 * @param {string} address
 * @param {AbortSignal} signal
 */
async function fetched(address, signal) {
  const answer = await fetch(`${address}?visit_token=${encodeURIComponent(page.visit_token)}`, { signal });
  if (!answer.ok) throw new Error(await answer.text());
  const image = element("img", { src: URL.createObjectURL(await answer.blob()), draggable: "false" });
  await image.decode();
  URL.revokeObjectURL(image.src);
  return image;
}

/**
 * @param {HTMLElement} button
 * @param {HTMLElement} stage
 */
async function open(button, stage) {
  const words = button.dataset.words ?? "", waiting = new AbortController();
  underWay.get(stage)?.abort();
  underWay.set(stage, waiting);
  button.setAttribute("aria-busy", "true");
  const label = button.textContent;
  // a source may take a run
  const slow = setTimeout(() => { button.textContent = `Stop making the ${words}`; }, 700);
  find(".nw-problem", stage)?.remove();
  try {
    const image = await fetched(button.dataset.before ?? "", waiting.signal);
    if (!button.isConnected) return; // another image is there
    close(stage);
    image.alt = `The ${words}`;
    const frame = element("div", { class: "nw-before" });
    need(".nw-mat", stage).append(frame);
    divide(frame, image, { left: `the ${words}`, right: "the result", cut, moved: (to) => { cut = to; } });
    button.setAttribute("aria-pressed", "true");
  } catch (error) {
    if (waiting.signal.aborted) return;
    const reason = error instanceof TypeError ? "The server cannot be reached." : /** @type {Error} */ (error).message;
    button.parentElement?.after(element("p", { class: "nw-problem", role: "alert" }, reason));
  } finally {
    clearTimeout(slow);
    button.textContent = label;
    button.removeAttribute("aria-busy");
  }
}

/**
 * The button "Compare with the source" was pressed: on, or off again, also while the source is being made.
 * @param {HTMLElement} button
 */
export function toggleBefore(button) {
  const stage = /** @type {HTMLElement} */ (button.closest(".nw-stage"));
  if (button.hasAttribute("aria-busy")) underWay.get(stage)?.abort();
  else if (button.getAttribute("aria-pressed") === "true") close(stage);
  else void open(button, stage);
}

/**
 * What the image on a stage is compared with, "" where it stands alone.
 * @param {HTMLElement} stage
 */
export const comparedWith = (stage) => find("[data-before][aria-pressed=true]", stage)?.dataset.words ?? "";

/**
 * Another image has come onto the stage: it is compared as the one before was, where it can be.
 * @param {HTMLElement} stage
 * @param {string} words
 */
export function goOnComparing(stage, words) {
  underWay.get(stage)?.abort();
  const button = words && findAll("[data-before]", stage).find((one) => one.dataset.words === words);
  if (button) void open(button, stage);
}

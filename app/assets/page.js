// @ts-check
/** What the page does as a whole: light and dark, keys, a dropped or pasted image. Loaded once, from the page's head. */
import { followMode, otherMode } from "./appearance.js";
import { back, backToBatch, keepAlone, pick, saveBatch } from "./batch.js";
import { toggleBefore } from "./before_after.js";
import { around, find, findAll, isShown } from "./element.js";
import { showThumbnail, toggleTruePixels, walk } from "./film.js";
import { historyKey } from "./history.js";
import "./number_fields.js";
import "./unused_settings.js";
import { imageIn, isImageAlone, offerImage } from "./given_image.js";
import { describeAccordions, dropdownIsOpen, isUploadField, keepTabOutOfDropdowns, press, pressAnywhere, whenPresent } from "./gradio.js";
import { watchRun } from "./running.js";
import { undo } from "./visit.js";

const TYPING = "input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable=true]";
const OWN_ARROWS = "[role=tab], [role=slider], [role=application], input:not([type=checkbox])";

document.documentElement.lang = "en";
followMode();
describeAccordions();
keepTabOutOfDropdowns();
watchRun();
keepAlone();
void whenPresent("#prompt textarea").then((prompt) => {
  const nobody = !document.activeElement || document.activeElement === document.body;
  if (nobody && matchMedia("(pointer: fine)").matches) prompt.focus({ preventScroll: true });
});

const keysDialog = () => /** @type {HTMLDialogElement | null} */ (find("#nw-keys"));

/**
 * @param {string} text
 * @param {HTMLElement} button
 */
async function copy(text, button) {
  try { await navigator.clipboard.writeText(text); } catch { return; } // not allowed: nothing is said to be copied
  const word = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = word; }, 1200);
}

/** @type {[string, (hit: HTMLElement) => void][]} */
const CLICKS = [
  [".nw-thumb", (hit) => showThumbnail(hit)],
  ["button.nw-image", toggleTruePixels],
  ["[data-before]", toggleBefore],
  [".nw-pick", pick],
  ["[data-back]", back],
  ["[data-save]", (hit) => { void saveBatch(hit); }],
  ["[data-copy]", (hit) => { void copy(find("pre", hit.closest("details") ?? document)?.textContent ?? "", hit); }],
  ["#nw-keys-open", () => keysDialog()?.showModal()],
  ["#nw-keys-close", () => keysDialog()?.close()],
  ["#nw-mode", otherMode],
  ["[data-settings=undo]", () => { undo(); }],
];
document.addEventListener("click", (event) => {
  for (const [selector, act] of CLICKS) {
    const hit = around(event, selector);
    if (hit) { act(hit); return; }
  }
  if (event.target === keysDialog()) keysDialog()?.close(); // beside the dialog
});

document.addEventListener("keydown", (event) => {
  const typing = around(event, TYPING), dialog = find("dialog[open]");
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !dialog) {
    event.preventDefault();
    event.stopPropagation();
    if (around(event, ".nw-cards")) typing?.dispatchEvent(new Event("change", { bubbles: true })); // as when one leaves the field
    void (press("compare-make") || press("follow") || pressAnywhere("generate")); // of the tab in view, else of Create
  } else if (event.key === "Escape" && !dialog && !dropdownIsOpen()) {
    const done = press("cancel") || press("compare-cancel") || press("follow-cancel") || historyKey(event) || pressAnywhere("cancel") || backToBatch();
    if (done) { event.preventDefault(); event.stopPropagation(); }
  } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !typing && !dialog) {
    // in a text the browser undoes what was typed
    if (historyKey(event) || (isShown(find("#undo")) && undo())) event.preventDefault();
  } else if (event.key === "?" && !typing && !dialog) {
    event.preventDefault();
    keysDialog()?.showModal();
  } else if (!typing && !dialog && !around(event, OWN_ARROWS) && historyKey(event)) {
    event.preventDefault();
  } else if (["ArrowLeft", "ArrowRight"].includes(event.key) && plain) {
    if (typing || dialog || around(event, OWN_ARROWS)) return;
    const film = findAll(".nw-film").find(isShown);
    if (film && walk(film, event.key === "ArrowLeft" ? -1 : 1)) event.preventDefault();
  }
}, true);

// of an image that is dropped anywhere it is asked what it is for, except where a field takes it
let entered = 0; // elements that the pointer has entered and not left
/** @param {Event} event */
const isNobodys = (event) => !around(event, "[data-own-drop]") && !isUploadField(event);
/** @param {DragEvent} event */
const isForPage = (event) => Boolean(event.dataTransfer?.types.includes("Files")) && isNobodys(event);
/** @param {number} count */
const dragging = (count) => { entered = Math.max(0, count); document.body.classList.toggle("nw-dragging", entered > 0); };

document.addEventListener("dragenter", (event) => { if (isForPage(event)) dragging(entered + 1); });
document.addEventListener("dragleave", () => dragging(entered - 1));
document.addEventListener("dragover", (event) => { if (isForPage(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  dragging(0);
  if (!isForPage(event)) return;
  event.preventDefault();
  event.stopPropagation();
  const file = imageIn(event.dataTransfer);
  if (file) void offerImage(file);
}, true);
document.addEventListener("paste", (event) => {
  if (find("dialog[open]") || !isNobodys(event) || !isImageAlone(event.clipboardData)) return;
  event.preventDefault();
  const file = imageIn(event.clipboardData);
  if (file) void offerImage(file);
});

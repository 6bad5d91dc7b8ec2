// @ts-check
/** An image that is dropped on the page or pasted: whoever gave it chooses what it is for. */
import { actButton, element, find, isShown } from "./element.js";
import { addToPage, restoreInput, whenPresent } from "./gradio.js";
import { usesOfImage } from "./image_uses.js";
import { catalogue, page } from "./page_state.js";
import { cardsInStack, familyGlyph, giveImage } from "./stack.js";
import { address, send } from "./uploads.js";
import { openTab } from "./visit.js";

/** @import { ImageUse, Uploaded } from "./server.d.ts" */

/** @type {HTMLDialogElement | null} */
let dialog = null;

/** Create is shown, where another tab is in view. */
async function showCreate() {
  if (!isShown(find("#create"))) openTab("create");
  await whenPresent("#restore-row input[type=file]");
}

/**
 * The settings that a file carries, back into the controls.
 * @param {File} file
 */
async function restore(file) {
  await showCreate();
  const input = restoreInput();
  if (!input) return;
  const one = new DataTransfer();
  one.items.add(file);
  input.files = one.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

/**
 * @param {string} title
 * @param {string} summary
 * @param {Node | null} glyph
 * @param {() => void} choose
 */
function choice(title, summary, glyph, choose) {
  return element("li", {}, element("button", {
    type: "button", class: "nw-use", onclick: () => { dialog?.close(); choose(); },
  }, glyph, element("b", {}, title), element("span", { class: "nw-quiet" }, summary)));
}

/**
 * @param {File} file
 * @param {Uploaded} answer
 */
function choices(file, { sha256: sha = "", settings = "" }) {
  const uses = usesOfImage(catalogue(), page.offers, cardsInStack());
  const use = (/** @type {ImageUse} */ one) => choice(one.title, one.summary, familyGlyph(catalogue().methods[one.method].family),
    async () => { await showCreate(); giveImage(one, sha); });
  return element("ul", { class: "nw-uses" },
    settings !== "" && choice("Use its settings", settings, null, () => void restore(file)), ...uses.map(use));
}

/** @param {Uploaded} answer */
function facts({ width = 0, height = 0, settings, notes = [] }) {
  return [`${width} × ${height} pixels.`, settings ? "" : "It carries no settings that can be read here.", ...notes].filter(Boolean).join(" ");
}

/**
 * Asks what an image is for.
 * @param {File} file
 */
export async function offerImage(file) {
  if (find("dialog[open]")) return; // one question at a time
  if (!dialog) {
    dialog = element("dialog", { class: "nw-chooser", "aria-label": "What is this image for?" });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog?.close(); }); // beside it
    addToPage(dialog);
  }
  const body = element("div", { class: "nw-chooser-body", role: "status" }, element("p", { class: "nw-quiet" }, `Reading ${file.name} …`));
  dialog.replaceChildren(
    element("div", { class: "nw-chooser-head" }, element("h2", {}, "What is this image for?"),
      actButton("Close", () => dialog?.close())), body);
  dialog.showModal();
  const answer = await send(file);
  body.removeAttribute("role");
  if (!answer.sha256) {
    body.replaceChildren(element("p", { class: "nw-note nw-error", role: "alert" }, `${file.name}: ${answer.error}`));
    return;
  }
  body.replaceChildren(
    element("div", { class: "nw-chooser-image" }, element("img", { src: address(answer.sha256), alt: "The image" }),
      element("p", { class: "nw-quiet" }, element("b", {}, file.name), " ", facts(answer))),
    choices(file, answer));
  find(".nw-use", body)?.focus();
}

/**
 * The first image among what is dropped or pasted, else the first file; null where there is none.
 * @param {DataTransfer | null} data
 */
export function imageIn(data) {
  const files = [...(data?.files ?? [])];
  return files.find(({ type }) => type.startsWith("image/")) ?? files[0] ?? null;
}

/**
 * Whether something pasted is an image and nothing else: a piece of a document is both text and its image.
 * @param {DataTransfer | null} data
 */
export function isImageAlone(data) {
  return Boolean(data && imageIn(data)?.type.startsWith("image/") && !data.types.includes("text/plain"));
}

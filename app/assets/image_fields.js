// @ts-check
/** The fields of an input that is an image, or several: uploaded, dropped, or taken from the stage. */
import { actButton, element } from "./element.js";
import { batchIsOnStage, imageOnStage } from "./film.js";
import { FITS, fitWords, isOtherShape } from "./image_fit.js";
import { announce } from "./page_state.js";
import { sheetSize } from "./sheet.js";
import { fittedAddress, notesOf, sizeOf, upload } from "./uploads.js";

/**
 * @param {string} id of the field
 * @param {string} label
 * @param {boolean} several
 * @param {(sha: string) => void} take
 */
function chooser(id, label, several, take) {
  /** @param {Blob} image */
  const give = async (image) => { const sha = await upload(image, id); if (sha) take(sha); };
  const file = element("input", {
    type: "file", accept: "image/*", multiple: several, class: "nw-hidden", "aria-label": `${label}: upload`,
    onchange: async () => { for (const one of file.files ?? []) await give(one); file.value = ""; },
  });
  return element("div", { class: "nw-tools" },
    element("label", { class: "nw-act nw-upload" }, "Upload", file),
    actButton("Use the current image", async () => {
      const source = imageOnStage();
      if (source) await give(await (await fetch(source)).blob());
      else {
        const batch = "A batch is in view: click on one of its images first.";
        announce("trouble", { field: id, words: batchIsOnStage() ? batch : "There is no current image yet: generate one first." });
      }
    }));
}

/**
 * An image as the run will get it.
 * @param {string} sha
 * @param {string} label
 * @param {string} fit
 * @param {() => void} drop
 */
function thumbnail(sha, label, fit, drop) {
  const frame = sheetSize();
  const image = element("img", {
    src: fittedAddress(sha, { fit, ...frame }), alt: label, loading: "lazy", onerror: () => { image.alt = "This image is not here any more"; },
  });
  const remove = element("button", {
    type: "button", class: "nw-letter", "aria-label": `Remove ${label}`, title: "Remove", onclick: drop,
  }, "×");
  const words = notesOf(sha).join(" ");
  return element("div", {}, element("div", { class: "nw-given", style: `--aspect: ${frame.width} / ${frame.height}` }, image, remove),
    words !== "" && element("p", { class: "nw-quiet", role: "note" }, words));
}

/**
 * How an image gets to the size of the result, in words; where that takes more than resizing, with the choice.
 * @param {string} id of the field
 * @param {string} label
 * @param {string} sha
 * @param {string} fit
 * @param {(fit: string) => void} changeFit
 */
function fitting(id, label, sha, fit, changeFit) {
  const frame = sheetSize(), words = element("p", { class: "nw-quiet" }), row = element("div", { class: "nw-fit" }, words);
  void sizeOf(sha).then((size) => {
    if (!size) return;
    words.textContent = fitWords(size, frame, fit);
    if (!isOtherShape(size, frame)) return;
    const select = element("select", { "aria-label": `${label}: resize mode`, "data-keep": `${id}.fit`, onchange: () => changeFit(select.value) },
      ...Object.entries(FITS).map(([value, name]) => element("option", { value, selected: value === fit }, name)));
    row.append(element("div", { class: "nw-tools" }, select,
      actButton("Size from this image", () => announce("shape", size), {
        title: "Width and height in the shape of this image, at as many pixels as the model was trained on", "data-keep": `${id}.shape`,
      })));
  });
  return row;
}

/**
 * Where images can be dropped or pasted, without being asked what they are for.
 * @param {string} id
 * @param {(sha: string) => void} take
 * @param {...(Node | false)} inside
 */
function dropZone(id, take, ...inside) {
  const takeAll = async (/** @type {DataTransfer | null} */ data) => {
    for (const file of [...(data?.files ?? [])]) { const sha = await upload(file, id); if (sha) take(sha); }
  };
  return element("div", {
    class: "nw-image-field", "data-own-drop": true,
    ondragover: (event) => event.preventDefault(),
    ondrop: async (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      await takeAll(event.dataTransfer);
    },
    onpaste: (/** @type {ClipboardEvent} */ event) => { void takeAll(event.clipboardData); },
  }, ...inside);
}

/**
 * @typedef {object} Given
 * @property {string} id of the field
 * @property {string} label
 * @property {string} fit how the image gets to the size of the result
 * @property {(fit: string) => void} changeFit
 */

/**
 * @param {Given & { sha: string, change: (sha: string) => void }} field sha: of the image, "" where there is none
 */
export function imageField({ id, label, sha, fit, change, changeFit }) {
  return dropZone(id, change, sha !== "" && thumbnail(sha, label, fit, () => change("")), chooser(id, label, false, change),
    sha !== "" && fitting(id, label, sha, fit, changeFit));
}

/**
 * @param {Given & { shas: readonly string[], change: (all: string[]) => void }} field shas: content hashes
 */
export function referencesField({ id, label, shas, fit, change, changeFit }) {
  const all = [...shas]; // of several files each is added in turn
  const take = (/** @type {string} */ sha) => { all.push(sha); change([...all]); };
  const images = all.map((sha, i) => thumbnail(sha, `${label} ${i + 1}`, fit, () => change(all.filter((_, j) => j !== i))));
  return dropZone(id, take, ...images, chooser(id, label, true, take), all.length > 0 && fitting(id, label, all[0], fit, changeFit));
}

// @ts-check
/** The fields of an input that is an image, or several: uploaded, dropped, or taken from the stage. */
import { actButton, element } from "./element.js";
import { imageOnStage } from "./film.js";
import { announce } from "./page_state.js";
import { address, notesOf, upload } from "./uploads.js";

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
      else announce("trouble", { field: id, words: "There is no current image yet: generate one first." });
    }));
}

/**
 * @param {string} sha
 * @param {string} label
 * @param {() => void} drop
 */
function thumbnail(sha, label, drop) {
  const image = element("img", { src: address(sha), alt: label, loading: "lazy", onerror: () => { image.alt = "This image is not here any more"; } });
  const remove = element("button", {
    type: "button", class: "nw-letter", "aria-label": `Remove ${label}`, title: "Remove", onclick: drop,
  }, "×");
  const words = notesOf(sha).join(" ");
  return element("div", {}, element("div", { class: "nw-given" }, image, remove),
    words !== "" && element("p", { class: "nw-quiet", role: "note" }, words));
}

/**
 * Where images can be dropped, in place of restoring their settings.
 * @param {string} id
 * @param {(sha: string) => void} take
 * @param {...(Node | false)} inside
 */
function dropZone(id, take, ...inside) {
  return element("div", {
    class: "nw-image-field", "data-own-drop": true,
    ondragover: (event) => event.preventDefault(),
    ondrop: async (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      for (const file of event.dataTransfer?.files ?? []) { const sha = await upload(file, id); if (sha) take(sha); }
    },
  }, ...inside);
}

/**
 * @param {string} id of the field
 * @param {string} label
 * @param {string} sha of the image, "" where there is none
 * @param {(sha: string) => void} change
 */
export function imageField(id, label, sha, change) {
  return dropZone(id, change, sha !== "" && thumbnail(sha, label, () => change("")), chooser(id, label, false, change));
}

/**
 * @param {string} id of the field
 * @param {string} label
 * @param {readonly string[]} shas content hashes
 * @param {(all: string[]) => void} change
 */
export function referencesField(id, label, shas, change) {
  const all = [...shas]; // of several files each is added in turn
  const take = (/** @type {string} */ sha) => { all.push(sha); change([...all]); };
  const images = all.map((sha, i) => thumbnail(sha, `${label} ${i + 1}`, () => change(all.filter((_, j) => j !== i))));
  return dropZone(id, take, ...images, chooser(id, label, true, take));
}

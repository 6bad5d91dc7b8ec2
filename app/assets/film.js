// @ts-check
/** The strip of made images, and the image above it: another one from the strip; true pixels and back. */
import { comparedWith, goOnComparing } from "./before_after.js";
import { find, findAll, need, serverMarkup } from "./element.js";

/** @import { Thumbnail } from "./server.d.ts" */

/**
 * @param {HTMLElement} thumb
 * @param {boolean} [focus]
 */
export function showThumbnail(thumb, focus = true) {
  const film = /** @type {HTMLElement} */ (thumb.closest(".nw-film"));
  for (const other of findAll(".nw-thumb", film)) {
    other.setAttribute("aria-selected", String(other === thumb));
    other.tabIndex = other === thumb ? 0 : -1;
  }
  const stage = find(`#${film.dataset.stage} .nw-stage`);
  if (stage && stage.dataset.state !== "running") {
    const words = comparedWith(stage);
    /** @type {Thumbnail} */
    const data = JSON.parse(thumb.dataset.image ?? "{}");
    stage.replaceChildren(...(serverMarkup(data.html).firstElementChild?.childNodes ?? []));
    stage.dataset.state = "done";
    goOnComparing(stage, words);
  }
  const here = thumb.getBoundingClientRect(), strip = film.getBoundingClientRect(); // the page itself stays where it is
  film.scrollLeft += Math.min(0, here.left - strip.left) + Math.max(0, here.right - strip.right);
  if (focus) thumb.focus({ preventScroll: true });
}

/**
 * To the next image of the strip, or the one before; whether there are any.
 * @param {HTMLElement} film
 * @param {1 | -1} by
 */
export function walk(film, by) {
  const thumbs = findAll(".nw-thumb", film);
  const now = thumbs.findIndex((one) => one.getAttribute("aria-selected") === "true");
  const next = thumbs[Math.min(Math.max(now + by, 0), thumbs.length - 1)];
  if (next) showThumbnail(next, film.contains(document.activeElement));
  return Boolean(next);
}

/**
 * One pixel of the image for one of the screen, and back to the size of the stage.
 * @param {HTMLElement} image the button around it
 */
export function toggleTruePixels(image) {
  const on = image.getAttribute("aria-pressed") !== "true";
  const inside = /** @type {HTMLImageElement} */ (need("img", image));
  image.setAttribute("aria-pressed", String(on));
  inside.style.width = on ? `${inside.naturalWidth / devicePixelRatio}px` : "";
}

/** Whether the images of a batch stand on the stage of Create, side by side. */
export const batchIsOnStage = () => find("#stage [data-state=done] .nw-pick") !== null;

/** The image that stands on the stage of Create, "" where there is none. */
export function imageOnStage() {
  const image = find("#stage .nw-image img");
  return image instanceof HTMLImageElement ? image.src : "";
}

/**
 * The seed of the image on the stage of Create, whichever of the strip that is; the one typed where there is none.
 * @param {string} typed
 */
export function seedInView(typed) {
  return find("#stage [data-seed]")?.dataset.seed ?? typed;
}

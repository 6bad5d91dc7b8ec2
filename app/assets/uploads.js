// @ts-check
/** Images that go to the server and are then known by their content hash. */
import { announce, page, visitIsKnown } from "./page_state.js";

/** @import { Preview, Uploaded } from "./server.d.ts" */

/** @type {Map<string, string[]>} content hash -> what was done to the upload, in words */
const notes = new Map();

/** What was done to an uploaded image, in words. @param {string} sha */
export const notesOf = (sha) => notes.get(sha) ?? [];

/** Where the page finds an image of this visit. @param {string} sha */
export const address = (sha) => `inputs/${sha}.png?visit_token=${encodeURIComponent(page.visit_token)}`;

/**
 * @typedef {object} Fitting how an image gets to the size of the result
 * @property {string} fit a key of FITS in app/assets/image_fit.js
 * @property {number} width
 * @property {number} height
 * @property {string} [under] of a mask: hash of the image that it lies on, "" where there is none
 * @property {number} [grow] of a mask: pixels
 * @property {number} [feather] of a mask: pixels
 */

/**
 * Where the page finds an image as a run gets it.
 * @param {string} sha
 * @param {Fitting} fitting
 */
export function fittedAddress(sha, fitting) {
  const asked = Object.entries(fitting).map(([name, value]) => `&${name}=${encodeURIComponent(value)}`);
  return address(sha) + asked.join("");
}

/** @type {Map<string, Promise<{ width: number, height: number } | null>>} */
const sizes = new Map();

/** How large an image of this visit is, in pixels; null where it is not here any more. @param {string} sha */
export function sizeOf(sha) {
  const known = sizes.get(sha) ?? (async () => {
    const image = new Image();
    image.src = address(sha);
    try { await image.decode(); } catch { sizes.delete(sha); return null; }
    return { width: image.naturalWidth, height: image.naturalHeight };
  })();
  sizes.set(sha, known);
  return known;
}

/**
 * @template Answer
 * @param {"inputs" | "measured"} path
 * @param {BodyInit} body
 * @param {string} type
 * @returns {Promise<Answer | null>} null where no answer came
 */
async function post(path, body, type) {
  await visitIsKnown; // a picture may be dropped on a page that has just been opened
  try {
    const response = await fetch(`${path}?visit_token=${encodeURIComponent(page.visit_token)}`, {
      method: "POST", body, headers: { "Content-Type": type, "X-Nine-Ways": "1" },
    });
    return await response.json();
  } catch { return null; }
}

/**
 * Sends an image to the server.
 * @param {Blob} image
 * @returns {Promise<Uploaded>} with `error`, in words, where it was not taken
 */
export async function send(image) {
  /** @type {Uploaded | null} */
  const answer = await post("inputs", image, image.type || "application/octet-stream");
  if (answer?.sha256) {
    notes.set(answer.sha256, answer.notes ?? []);
    sizes.set(answer.sha256, Promise.resolve({ width: answer.width ?? 0, height: answer.height ?? 0 }));
  }
  return answer ?? { error: "The image did not reach the app. Is it still running?" };
}

/**
 * Sends an image to the server; null, with words at the field, where it was not taken.
 * @param {Blob} image
 * @param {string} field
 * @returns {Promise<string | null>} its content hash
 */
export async function upload(image, field) {
  const answer = await send(image);
  if (!answer.sha256) announce("trouble", { field, words: answer.error ?? "" });
  return answer.sha256 ?? null;
}

/**
 * The observation that a degradation makes of an image, under the settings of the page.
 * @param {string} question JSON
 * @returns {Promise<Preview>}
 */
export async function observation(question) {
  return (await post("measured", question, "application/json")) ?? {};
}

// @ts-check
/** Images that go to the server and are then known by their content hash. */
import { announce, page } from "./page_state.js";

/** @import { Preview, Uploaded } from "./server.d.ts" */

/** @type {Map<string, string[]>} content hash -> what was done to the upload, in words */
const notes = new Map();

/** What was done to an uploaded image, in words. @param {string} sha */
export const notesOf = (sha) => notes.get(sha) ?? [];

/** Where the page finds an image of this visit. @param {string} sha */
export const address = (sha) => `inputs/${sha}.png?visit_token=${encodeURIComponent(page.visit_token)}`;

/**
 * @template Answer
 * @param {"inputs" | "measured"} path
 * @param {BodyInit} body
 * @param {string} type
 * @returns {Promise<Answer | null>} null where no answer came
 */
async function post(path, body, type) {
  try {
    const response = await fetch(`${path}?visit_token=${encodeURIComponent(page.visit_token)}`, {
      method: "POST", body, headers: { "Content-Type": type, "X-Nine-Ways": "1" },
    });
    return await response.json();
  } catch { return null; }
}

/**
 * Sends an image to the server; null, with words at the field, where it was not taken.
 * @param {Blob} image
 * @param {string} field
 * @returns {Promise<string | null>} its content hash
 */
export async function upload(image, field) {
  /** @type {Uploaded | null} */
  const answer = await post("inputs", image, image.type || "application/octet-stream");
  if (answer?.sha256) {
    notes.set(answer.sha256, answer.notes ?? []);
    return answer.sha256;
  }
  announce("trouble", { field, words: answer?.error ?? "The image did not reach the app. Is it still running?" });
  return null;
}

/**
 * The observation that a degradation makes of an image, under the settings of the page.
 * @param {string} question JSON
 * @returns {Promise<Preview>}
 */
export async function observation(question) {
  return (await post("measured", question, "application/json")) ?? {};
}

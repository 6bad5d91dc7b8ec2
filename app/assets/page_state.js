// @ts-check
/** What several parts of the page know together, and how they hear of changes. */

/** @import { Catalogue, Marks } from "./server.d.ts" */

/** @type {{ catalogue: Catalogue | null, visit_token: string, backbone: string, model: string, offers: string[] | null, loras: Marks["loras"], takes_loras: boolean }} */
export const page = { catalogue: null, visit_token: "", backbone: "", model: "", offers: null, loras: null, takes_loras: false };

let visitBegins = () => {};
/** Resolves once the server has said whose visit this is: without that it takes no image and gives none. */
export const visitIsKnown = /** @type {Promise<void>} */ (new Promise((resolve) => { visitBegins = resolve; }));

/** @param {Marks} marks */
export function learn({ visit_token, backbone, model, offers, loras, takes_loras }) {
  Object.assign(page, { visit_token, backbone, model, offers, loras, takes_loras });
  if (visit_token) visitBegins();
}

/** Once the page has it: what draws methods is called after that. */
export function catalogue() {
  if (page.catalogue === null) throw new Error("The catalogue of methods has not come yet.");
  return page.catalogue;
}

/**
 * The events: `stack` when the cards or what is known of the network have changed; `trouble` for words at a field;
 * `settings` when any setting has changed; `shape` for an image whose shape the result is to have; `unused` for settings that the run will not use, field -> words; `wrong` for the fields that it would be refused for.
 * @typedef {{ stack: undefined, settings: undefined, trouble: { field: string, words: string }, shape: { width: number, height: number }, unused: Record<string, string>, wrong: string[] }} Events
 */
const bus = new EventTarget();

/**
 * @template {keyof Events} Name
 * @param {Name} name
 * @param {Events[Name]} detail
 */
export function announce(name, detail) {
  bus.dispatchEvent(new CustomEvent(name, { detail }));
}

/**
 * @template {keyof Events} Name
 * @param {Name} name
 * @param {(detail: Events[Name]) => void} handle
 */
export function listen(name, handle) {
  bus.addEventListener(name, (event) => handle(/** @type {CustomEvent} */ (event).detail));
}

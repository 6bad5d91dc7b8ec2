// @ts-check
/** Links to files that the server makes: saved under the server's name, and what goes wrong is said beside the link. */

import { element } from "./element.js";

/**
 * Offers a file to be saved.
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/**
 * Images of the history in one file that the server makes of them; "", or in words what went wrong.
 * @param {string} path
 * @param {string[]} addresses each is its own permission
 * @param {string} name of the file
 */
export async function saveImages(path, addresses, name) {
  try {
    const answer = await fetch(path, { method: "POST", body: JSON.stringify(addresses) });
    if (!answer.ok) return await answer.text();
    save(await answer.blob(), name);
    return "";
  } catch { return "The file did not come. Is the app still running?"; }
}

/**
 * The name that an answer gives its file, else the last part of its address.
 * @param {string | null} disposition
 * @param {string} href
 */
export function nameOf(disposition, href) {
  return disposition?.match(/filename="([^"]+)"/)?.[1] ?? href.split("/").at(-1) ?? "file";
}

/**
 * @param {string} href
 * @param {string} words
 */
export function fileLink(href, words) {
  const trouble = element("span", { class: "nw-problem", role: "alert", hidden: true });
  const link = element("a", { class: "nw-act", href, download: true, onclick: get }, words);

  /** @param {MouseEvent} event */
  async function get(event) {
    event.preventDefault();
    if (link.hasAttribute("aria-busy")) return; // it is being made
    link.setAttribute("aria-busy", "true");
    trouble.hidden = true;
    try {
      const answer = await fetch(href);
      if (!answer.ok) throw new Error(await answer.text());
      save(await answer.blob(), nameOf(answer.headers.get("Content-Disposition"), href));
    } catch (error) { // of the server in words, or none came
      const reason = error instanceof TypeError ? "the server cannot be reached. Try again." : String(/** @type {Error} */ (error).message).slice(0, 300);
      trouble.textContent = `${words}: ${reason}`;
      trouble.hidden = false;
    } finally {
      link.removeAttribute("aria-busy");
    }
  }
  return element("span", {}, link, trouble);
}

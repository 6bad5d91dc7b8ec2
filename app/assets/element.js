// @ts-check
/** Elements of the page. Words always go in as text nodes and attributes, so words from outside stay words. */

/** @typedef {Node | string | null | undefined | false} Child */
/** @typedef {string | number | boolean | null | undefined | ((event: any) => void)} Attribute */

/**
 * @param {Element} made
 * @param {Record<string, Attribute>} attributes
 * @param {Child[]} children
 */
function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
}

/**
 * An element. A function is a listener of the event named `on...`; true sets an empty attribute; false, null and
 * undefined leave the attribute or the child out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  fill(made, attributes, children);
  return made;
}

/**
 * The same for SVG.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(made, attributes, children);
  return made;
}

/**
 * Nodes of HTML that our own server wrote and escaped, such as a family's glyph. For nothing else.
 * @param {string} html
 * @returns {DocumentFragment}
 */
export function serverMarkup(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html; // eslint-disable-line no-restricted-syntax -- the one place
  return holder.content;
}

/**
 * What the page must have. Fails in words where it is missing.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {HTMLElement}
 */
export function need(selector, root = document) {
  const found = root.querySelector(selector);
  if (found === null) throw new Error(`The page has no ${selector}.`);
  return /** @type {HTMLElement} */ (found);
}

/**
 * What the page may have.
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {HTMLElement | null}
 */
export function find(selector, root = document) {
  return root.querySelector(selector);
}

/**
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {HTMLElement[]}
 */
export function findAll(selector, root = document) {
  return [...root.querySelectorAll(selector)].map((one) => /** @type {HTMLElement} */ (one));
}

/**
 * The nearest element around an event's target, itself included, that fits the selector.
 * @param {Event} event
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export function around(event, selector) {
  return event.target instanceof Element ? event.target.closest(selector) : null;
}

/**
 * A button in the page's quiet style.
 * @param {string} words
 * @param {(event: MouseEvent) => void} press
 * @param {Record<string, Attribute>} [attributes]
 * @returns {HTMLButtonElement}
 */
export function actButton(words, press, attributes = {}) {
  return element("button", { type: "button", class: "nw-act", onclick: press, ...attributes }, words);
}

/**
 * @param {Element | null | undefined} one
 * @returns {boolean}
 */
export function isShown(one) {
  return one instanceof HTMLElement && one.offsetParent !== null;
}

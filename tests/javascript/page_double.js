// @ts-check
/** As much of a browser's document as the tests of the page's scripts need: a tree of elements with attributes, events and simple selectors. Nothing is drawn: what has a `hidden` around it is not shown. */

const PART = /([#.])([\w-]+)|\[([\w-]+)(?:=["']?([^\]"']*)["']?)?\]|:(not|is)\(([^()]*)\)|(^[\w-]+|\*)/g;

/** Whether an element fits a selector without spaces. @param {Double} one @param {string} selector @returns {boolean} */
function fits(one, selector) {
  return [...selector.matchAll(PART)].every(([, sign, name, attribute, value, rule, inner, tag]) => {
    if (tag) return tag === "*" || one.tagName.toLowerCase() === tag.toLowerCase();
    if (sign) return sign === "#" ? one.id === name : one.classes().includes(name);
    if (attribute) return value === undefined ? one.hasAttribute(attribute) : one.getAttribute(attribute) === value;
    return inner.split(",").some((each) => fits(one, each.trim())) === (rule === "is");
  });
}

/** Whether an element fits one whose ancestors fit what stands before it. @param {Double} one @param {string} selector */
function fitsChain(one, selector) {
  const parts = selector.trim().split(/\s+(?![^[(]*[\])])/);
  /** @type {Double | null} */
  let at = one;
  for (let i = parts.length - 1; i >= 0; i--) {
    if (parts[i] === ">") continue;
    const direct = i === parts.length - 1 || parts[i + 1] === ">";
    while (at && !fits(at, parts[i])) at = direct ? null : at.parentElement;
    if (!at) return false;
    at = at.parentElement;
  }
  return true;
}

/** @param {string} selectors */
const split = (selectors) => selectors.split(/,(?![^(]*\))/);

export class Double extends EventTarget {
  constructor(/** @type {string} */ tag, /** @type {Record<string, string>} */ attributes = {}, /** @type {(Double | string)[]} */ ...children) {
    super();
    this.tagName = tag.toUpperCase();
    /** @type {Record<string, string>} */
    this.attributes = { ...attributes };
    /** @type {(Double | string)[]} */
    this.childNodes = [];
    /** @type {Double | null} */
    this.parentElement = null;
    this.disabled = "disabled" in attributes;
    /** @type {string} */
    this.value = attributes.value ?? "";
    /** @type {Record<string, any>} */
    this.style = {};
    this.dataset = new Proxy({}, {
      get: (_, name) => this.attributes[dashed(String(name))],
      set: (_, name, value) => { this.attributes[dashed(String(name))] = String(value); return true; },
      deleteProperty: (_, name) => delete this.attributes[dashed(String(name))],
    });
    this.append(...children);
  }

  get id() { return this.attributes.id ?? ""; }

  get children() { return this.childNodes.filter((one) => one instanceof Double); }

  get hidden() { return this.hasAttribute("hidden"); }

  set hidden(is) { this.toggleAttribute("hidden", is); }

  get open() { return this.hasAttribute("open"); }

  set open(is) { this.toggleAttribute("open", is); }

  /** @returns {Double | null} */
  get offsetParent() { return this.closest("[hidden]") ? null : this.parentElement; }

  /** @returns {string} */
  get textContent() { return this.childNodes.map((one) => (one instanceof Double ? one.textContent : one)).join(""); }

  set textContent(words) { this.replaceChildren(words); }

  get innerText() { return this.textContent; }

  get src() { return this.attributes.src ?? ""; }

  set src(to) { this.attributes.src = to; }

  get href() { return this.attributes.href ?? ""; }

  classes() { return (this.attributes.class ?? "").split(" "); }

  get classList() {
    return { contains: (/** @type {string} */ name) => this.classes().includes(name), toggle: () => {} };
  }

  /** @param {string} name */
  getAttribute(name) { return this.attributes[name] ?? null; }

  /** @param {string} name */
  hasAttribute(name) { return name in this.attributes; }

  /** @param {string} name @param {string} to */
  setAttribute(name, to) {
    this.attributes[name] = to;
    if (name === "value") this.value = to;
    if (name === "disabled") this.disabled = true;
  }

  /** @param {string} name */
  removeAttribute(name) { delete this.attributes[name]; }

  /** @param {string} name @param {boolean} is */
  toggleAttribute(name, is) { if (is) this.attributes[name] = ""; else delete this.attributes[name]; }

  /** @param {(Double | string)[]} children */
  append(...children) {
    for (const child of children) {
      if (child instanceof Double) { child.remove(); child.parentElement = this; }
      this.childNodes.push(child);
    }
  }

  /** @param {(Double | string)[]} children */
  replaceChildren(...children) {
    for (const child of this.children) child.parentElement = null;
    this.childNodes = [];
    this.append(...children);
  }

  /** @param {Double} other */
  before(other) {
    other.remove();
    other.parentElement = this.parentElement;
    this.parentElement?.childNodes.splice(this.parentElement.childNodes.indexOf(this), 0, other);
  }

  remove() {
    const around = this.parentElement;
    if (around) around.childNodes = around.childNodes.filter((one) => one !== this);
    this.parentElement = null;
  }

  /** @param {string} selectors */
  matches(selectors) { return split(selectors).some((one) => fitsChain(this, one)); }

  /** @param {string} selectors @returns {Double | null} */
  closest(selectors) { return this.matches(selectors) ? this : this.parentElement?.closest(selectors) ?? null; }

  /** @param {string} selectors @returns {Double[]} */
  querySelectorAll(selectors) { return this.children.flatMap((one) => [...(one.matches(selectors) ? [one] : []), ...one.querySelectorAll(selectors)]); }

  /** @param {string} selectors */
  querySelector(selectors) { return this.querySelectorAll(selectors)[0] ?? null; }

  /** @param {Double | null} one @returns {boolean} */
  contains(one) { return one !== null && (one === this || this.contains(one.parentElement)); }

  click() { if (!this.disabled) this.dispatchEvent(new Event("click")); }

  focus() {}

  blur() {}
}

/** @param {string} name dataset's */
const dashed = (name) => `data-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/**
 * A document with these elements in its body, in the place of the browser's; and what its scripts watch, called by `changed`.
 * @param {...Double} inside
 */
export function pageWith(...inside) {
  const body = new Double("body", {}, ...inside), html = new Double("html", {}, body);
  /** @type {(() => void)[]} */
  const watching = [];
  /** @type {Record<string, ((event: any) => void)[]>} */
  const listeners = {};
  const document = {
    title: "Nine Ways", body, documentElement: html, activeElement: body,
    querySelector: (/** @type {string} */ selectors) => html.querySelector(selectors),
    querySelectorAll: (/** @type {string} */ selectors) => html.querySelectorAll(selectors),
    getElementById: (/** @type {string} */ id) => html.querySelector(`#${id}`),
    createElement: (/** @type {string} */ tag) => new (tag === "details" ? Details : Double)(tag),
    createElementNS: (/** @type {string} */ _space, /** @type {string} */ tag) => new Double(tag),
    addEventListener: (/** @type {string} */ name, /** @type {(event: any) => void} */ handle) => { (listeners[name] ??= []).push(handle); },
  };
  class MutationObserver {
    constructor(/** @type {() => void} */ handle) { watching.push(handle); }

    observe() {}

    disconnect() {}
  }
  class Details extends Double {}
  Object.assign(globalThis, { document, MutationObserver, Element: Double, HTMLElement: Double, HTMLDetailsElement: Details, HTMLInputElement: Double, HTMLButtonElement: Double });
  const changed = () => watching.forEach((handle) => handle());
  /** A key pressed at an element; whether the page took it. @param {string} key @param {object} [more] */
  const pressed = (key, more = {}) => {
    let taken = false;
    const event = { key, target: body, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, stopPropagation: () => {}, preventDefault: () => { taken = true; }, ...more };
    (listeners.keydown ?? []).forEach((handle) => handle(event));
    return taken;
  };
  return { body, document, changed, pressed };
}

// @ts-check
/**
 * All that the page's scripts know of Gradio's own markup. Gradio promises none of it: tests/browser/test_gradio_markup.py
 * says in words what changed. Ids are ours (elem_id); what is inside the element with that id is Gradio's.
 */
import { find, findAll, isShown } from "./element.js";

/**
 * What Gradio hands to the script of a gr.HTML component (js_on_load), documented.
 * @typedef {object} Component
 * @property {HTMLElement} element
 * @property {{ value: any }} props
 * @property {(event: string, data?: object) => void} trigger
 * @property {(name: string, changed: () => void) => void} watch
 */

/** Where a dialog has to be for Gradio's theme and our style sheet to reach it. */
const CONTAINER = ".gradio-container";
/** The header of an accordion, and its class while it is open. Gradio gives it no aria-expanded. */
const ACCORDION_BUTTON = "button.label-wrap";
const ACCORDION_OPEN = "open";
const DRAWER = ".nw-drawer"; // a class of ours
/** The open list of a dropdown: at the end of the page, not in the dropdown. */
const DROPDOWN_LISTS = ".options, .options [role=listbox]";
/** A field that takes files, by dropping them or from the clipboard. */
const UPLOAD_FIELD = "[aria-dropeffect]";
/** The class of <body> in dark mode. */
const DARK = "dark";

/**
 * Calls with the component's value: now where there is one already, and whenever the server sends another.
 * @param {Component} component
 * @param {(value: string) => void} handle
 */
export function onValue({ props, watch }, handle) {
  watch("value", () => { if (props.value) handle(props.value); });
  if (props.value) handle(props.value);
}

/**
 * Calls after Gradio has drawn a new value of the component. Watchers are called before that, so it is the next task.
 * @param {Component} component
 * @param {() => void} handle
 */
export function afterDrawing({ watch }, handle) {
  watch("value", () => setTimeout(handle));
}

/**
 * Calls once now and then whenever the document's elements change, until the handler returns true.
 * @param {() => boolean} handle
 * @param {MutationObserverInit} changes
 */
function untilTrue(handle, changes) {
  if (handle()) return;
  const observer = new MutationObserver(() => { if (handle()) observer.disconnect(); });
  observer.observe(document.documentElement, changes);
}

/**
 * The element, as soon as Gradio has drawn it.
 * @param {string} selector
 * @returns {Promise<HTMLElement>}
 */
export function whenPresent(selector) {
  return new Promise((resolve) => untilTrue(() => {
    const found = find(selector);
    if (found) resolve(found);
    return found !== null;
  }, { childList: true, subtree: true }));
}

/**
 * Resolves as soon as all elements with these ids can be seen, or after a second: what never comes is not waited for.
 * @param {string[]} ids
 * @returns {Promise<void>}
 */
export function whenShown(ids) {
  return new Promise((resolve) => {
    let over = false;
    const done = () => { over = true; resolve(); };
    setTimeout(done, 1000);
    untilTrue(() => {
      if (over) return true;
      const all = ids.every((id) => isShown(document.getElementById(id)));
      if (all) done();
      return all;
    }, { childList: true, subtree: true, attributeFilter: ["class", "style"] });
  });
}

/**
 * The button of a gr.Button: the id is on the button itself in this version of Gradio, and was around it in others.
 * @param {string} id
 * @returns {HTMLButtonElement | null}
 */
export function button(id) {
  return document.querySelector(`button#${id}, #${id} button`);
}

/**
 * Presses a button that can be seen and is not disabled; whether there was one.
 * @param {string} id
 */
export function press(id) {
  const one = button(id);
  const can = one !== null && isShown(one) && !one.disabled;
  if (can) one.click();
  return can;
}

/**
 * Presses a button that is not disabled, on whatever tab it stands; whether there was one.
 * @param {string} id
 */
export function pressAnywhere(id) {
  const one = button(id);
  const can = one !== null && !one.disabled;
  if (can) one.click();
  return can;
}

/**
 * "Generate", after what Gradio still has to put into the controls: called by an event's `js=`, in the task after it.
 */
export function generate() {
  setTimeout(() => button("generate")?.click(), 100);
}

/**
 * What someone types into, in the field with this id.
 * @param {string} id
 * @returns {HTMLInputElement | HTMLTextAreaElement | null}
 */
export function inputOf(id) {
  const field = document.getElementById(id);
  // a slider has a number and a range: the number is the one that can be wrong
  return field?.querySelector("textarea, input[type=number]") ?? field?.querySelector("input") ?? null;
}

/**
 * The number in the field with this id, or the other one where none is typed.
 * @param {string} id
 * @param {number} otherwise
 */
export function numberOf(id, otherwise) {
  return Number(inputOf(id)?.value) || otherwise;
}

/** The file input of the upload that restores the settings of an image. */
export function restoreInput() {
  const found = find("#restore-row input[type=file]");
  return found instanceof HTMLInputElement ? found : null;
}

/** Whether an event is on a field of Gradio's own that takes files. @param {Event} event */
export function isUploadField(event) {
  return event.target instanceof Element && event.target.closest(UPLOAD_FIELD) !== null;
}

/** Opens the drawer "Advanced", where it is closed. */
export function openAdvanced() {
  find(`#advanced > ${ACCORDION_BUTTON}:not(.${ACCORDION_OPEN})`)?.click();
}

/**
 * Closes a drawer, as soon as its header hears clicks: that is some moments after it is there.
 * @param {HTMLElement} header
 * @param {HTMLElement} drawer
 */
function close(header, drawer) {
  if (!header.classList.contains(ACCORDION_OPEN)) { drawer.dataset.drawn = ""; return; }
  header.click();
  setTimeout(() => close(header, drawer), 50);
}

/**
 * Says to screen readers whether each accordion is open, now and from now on; and closes the drawers, which the server
 * sends open (`DRAWER` in app/tabs/listeners.py).
 */
export function describeAccordions() {
  const known = new WeakSet();
  /** @param {HTMLElement} header */
  const describe = (header) => header.setAttribute("aria-expanded", String(header.classList.contains(ACCORDION_OPEN)));
  untilTrue(() => {
    for (const header of findAll(ACCORDION_BUTTON)) {
      if (known.has(header)) continue;
      known.add(header);
      const drawer = header.closest(DRAWER);
      if (drawer instanceof HTMLElement && drawer.dataset.drawn === undefined) close(header, drawer);
      describe(header);
      new MutationObserver(() => describe(header)).observe(header, { attributeFilter: ["class"] });
    }
    return false; // a tab draws its accordions when it is first opened
  }, { childList: true, subtree: true });
}

/** A long list of a dropdown scrolls, so the browser would let Tab go into it, where the list closes and the focus is lost. */
export function keepTabOutOfDropdowns() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") findAll(DROPDOWN_LISTS).forEach((list) => { list.tabIndex = -1; });
  }, true);
}

/** Whether the open list of a dropdown can be seen: Escape closes that first. */
export function dropdownIsOpen() {
  return findAll("[role=listbox]:not(.nw-film)").length > 0;
}

/** @param {boolean} dark */
export function setDark(dark) {
  document.body.classList.toggle(DARK, dark);
}

export function isDark() {
  return document.body.classList.contains(DARK);
}

/**
 * Calls when Gradio has set its own idea of the mode, which it does once it has mounted.
 * @param {() => void} handle
 */
export function onModeSet(handle) {
  new MutationObserver(handle).observe(document.body, { attributeFilter: ["class"] });
}

/** Where the page's own style reaches it. @param {HTMLElement} element over all else */
export function addToPage(element) {
  (find(CONTAINER) ?? document.body).append(element);
}

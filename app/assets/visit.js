// @ts-check
/**
 * What the browser keeps of a visit: its key, the ids of its images and comparisons, each with the server's signature,
 * and the settings; so that a reload loses nothing. And the address of the page: Back and Forward lead through the tabs
 * and what was made in them. The server's side is app/tabs/returning.py.
 */
import { find } from "./element.js";
import { onValue } from "./gradio.js";
import { UndoList } from "./undo.js";

/** @import { Component } from "./gradio.js" */
/** @import { VisitNews } from "./server.d.ts" */

/**
 * @typedef {import("./undo.js").Settings} Settings
 * @typedef {[string, string][]} Signed ids with signatures, newest first
 * @typedef {{ visit_token: string, images: Signed, comparisons: Signed, settings: Settings | null }} Kept
 */

const VISIT = "nine-ways-visit"; // of the browser
const TAB = "nine-ways-tab"; // of this tab of it
const MOST = 1000; // ids of a kind

/** @type {Kept} */
const NOTHING = { visit_token: "", images: [], comparisons: [], settings: null };

/** Whether the page has read what was kept: before that, nothing is written over it. */
let arrived = false;
/** Whether the page shows what the server answered to that: until then nobody chose its tab and its settings. */
let placed = false;
const undoList = new UndoList();
/** Puts settings into the controls. @type {(settings: Settings) => void} */
let put = () => {};
/** @type {Record<string, string>} the address that each tab of the page was left at */
const addresses = {};

/**
 * @template Value
 * @param {Storage} storage
 * @param {string} key
 * @param {Value} otherwise
 * @returns {Value}
 */
function read(storage, key, otherwise) {
  try { return { ...otherwise, ...JSON.parse(storage.getItem(key) ?? "{}") }; } catch { return otherwise; }
}

/**
 * @param {Storage} storage
 * @param {string} key
 * @param {object} value
 */
function write(storage, key, value) {
  try { storage.setItem(key, JSON.stringify(value)); } catch { /* full, or not allowed: then a reload begins anew */ }
}

/**
 * Ids in the order in which they came, the newest first, each once.
 * @param {Signed} fresh
 * @param {Signed} before
 * @returns {Signed}
 */
export function merged(fresh, before) {
  const known = new Set(fresh.map(([id]) => id));
  return [...fresh, ...before.filter(([id]) => !known.has(id))].slice(0, MOST);
}

/**
 * The tab of the page that an address names.
 * @param {string} address
 */
export function tabOf(address) {
  return address.replace(/^#/, "").split("?")[0] || "create";
}

/** @param {Component} component */
export function mount(component) {
  const stored = read(localStorage, VISIT, NOTHING);
  const here = read(sessionStorage, TAB, { tab: "", settings: /** @type {Settings | null} */ (null) });
  if (!here.tab) here.tab = crypto.getRandomValues(new Uint32Array(2)).join("-");
  write(sessionStorage, TAB, here);
  arrived = true;
  addresses[tabOf(location.hash)] = location.hash;
  onValue(component, (text) => keep(JSON.parse(text)));
  const how = /** @type {PerformanceNavigationTiming | undefined} */ (performance.getEntriesByType("navigation")[0])?.type;
  const linked = how === "navigate" && location.hash.includes("?"); // then the link says what is in the controls
  component.trigger("arrive", {
    ...stored,
    tab: here.tab,
    settings: linked ? null : here.settings ?? stored.settings,
    address: linked || tabOf(location.hash) !== "create" ? location.hash : "#create",
  });
  put = (settings) => component.trigger("settings", { settings });
  addEventListener("popstate", () => {
    addresses[tabOf(location.hash)] = location.hash;
    component.trigger("go", { address: location.hash });
  });
}

/** @param {VisitNews} news */
function keep(news) {
  const stored = read(localStorage, VISIT, NOTHING);
  if (news.all) {
    Object.assign(stored, { images: [], comparisons: [] }); // what the server no longer knows goes
    setTimeout(() => { placed = true; }, 100); // Gradio first draws what came with this
  }
  write(localStorage, VISIT, {
    ...stored,
    visit_token: news.visit_token ?? stored.visit_token,
    images: merged(news.images ?? [], stored.images),
    comparisons: merged(news.comparisons ?? [], stored.comparisons),
  });
  if (news.address) show(news.address);
}

/**
 * The settings as they stand, whenever one changes.
 * @param {string[]} names
 * @param {...unknown} values
 */
export function remember(names, ...values) {
  const settings = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  if (!placed) undoList.now = settings; // what the page begins with is no change
  if (!arrived) return;
  write(localStorage, VISIT, { ...read(localStorage, VISIT, NOTHING), settings });
  write(sessionStorage, TAB, { ...read(sessionStorage, TAB, {}), settings });
  offerUndo(undoList.note(settings, performance.now()));
}

/** @param {boolean} possible */
function offerUndo(possible) {
  const undo = find("[data-settings=undo]");
  if (undo instanceof HTMLButtonElement) undo.disabled = !possible;
}

/** The settings as they were before the last change; whether there was one. */
export function undo() {
  const settings = undoList.undo();
  if (settings) put(settings);
  offerUndo(undoList.before.length > 0);
  return settings !== null;
}

/**
 * What a tab of the page shows now has this address: the page's own, where the tab is the one in view.
 * @param {string} address
 */
export function show(address) {
  addresses[tabOf(address)] = address;
  if (tabOf(location.hash) === tabOf(address) && location.hash !== address) history.pushState(null, "", address);
}

/**
 * A tab of the page was chosen.
 * @param {string} tab
 */
export function tabChosen(tab) {
  if (placed && tab !== tabOf(location.hash)) history.pushState(null, "", addresses[tab] || `#${tab}`);
}

// @ts-check
/**
 * What the browser keeps of a visit: its key, the ids of its images, comparisons and trajectories, each with the
 * server's signature, and the settings; so that a reload loses nothing. And the address of the page: Back and Forward
 * lead through the tabs and what was made in them. The server's side is app/tabs/returning.py.
 *
 * What the server answers may come seconds later. What a person has changed by then stays as it is: see `place`.
 */
import { element, find } from "./element.js";
import { addToPage, onValue } from "./gradio.js";
import { announce } from "./page_state.js";
import { changed, UndoList } from "./undo.js";

/** @import { Component } from "./gradio.js" */
/** @import { VisitNews } from "./server.d.ts" */

/**
 * @typedef {import("./undo.js").Settings} Settings
 * @typedef {[string, string][]} Signed ids with signatures, newest first
 * @typedef {{ visit_token: string, images: Signed, comparisons: Signed, trajectories: Signed, settings: Settings | null }} Kept
 */

const VISIT = "nine-ways-visit"; // of the browser
const TAB = "nine-ways-tab"; // of this tab of it
const MOST = 1000; // ids of a kind
const DRAWING = 100; // milliseconds that Gradio takes to draw what came
const PATIENCE = 20_000; // milliseconds after which a page goes on without what was kept

/** @type {Kept} */
const NOTHING = { visit_token: "", images: [], comparisons: [], trajectories: [], settings: null };

/** Whether the page has read what was kept: before that, nothing is written over it. */
let arrived = false;
/** Whether the page shows what the server answered to that: until then nobody chose its tab and its settings. */
let placed = false;
/** Settings that were kept and are not in the controls yet. @type {Settings} */
let unplaced = {};
/** Called once the page is what it was before. */
let nowPlaced = () => {};
/** @type {Promise<void>} */
const whenPlaced = new Promise((resolve) => { nowPlaced = resolve; });
const undoList = new UndoList();
/** The settings as they stand, and what is kept beside them without undo. @type {Settings} */
let settings = {}, beside = {};
/** All of them when the server was asked for others: what differs from these when it answers is a person's. @type {Settings} */
let asked = {};
let tabInView = "create", choseTab = false; // since the server was asked
/** Puts settings into the controls. @type {(settings: Settings) => void} */
let put = () => {};
/** Leads to an address of the page. @type {(address: string) => void} */
let go = () => {};
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
  addresses[tabOf(location.hash)] = location.hash;
  onValue(component, (text) => keep(JSON.parse(text)));
  const how = /** @type {PerformanceNavigationTiming | undefined} */ (performance.getEntriesByType("navigation")[0])?.type;
  const linked = how === "navigate" && location.hash.includes("?"); // then the link says what is in the controls
  unplaced = here.settings ?? stored.settings ?? {};
  arrived = true;
  component.trigger("arrive", {
    ...stored,
    tab: here.tab,
    linked,
    settings: unplaced,
    address: linked || tabOf(location.hash) !== "create" ? location.hash : "#create",
  });
  setTimeout(() => settled(), PATIENCE);
  put = (given) => { ask(); component.trigger("settings", { settings: given }); };
  go = (address) => void whenPlaced.then(() => { ask(); component.trigger("go", { address }); });
  addEventListener("popstate", () => {
    addresses[tabOf(location.hash)] = location.hash;
    go(location.hash);
  });
}

/** Shows a tab of the page, as it was left. @param {string} tab */
export const openTab = (tab) => go(`#${tab}`);

/** @param {VisitNews} news */
function keep(news) {
  const stored = read(localStorage, VISIT, NOTHING);
  if (news.all) Object.assign(stored, { images: [], comparisons: [], trajectories: [] }); // what the server no longer knows goes
  write(localStorage, VISIT, {
    ...stored,
    visit_token: news.visit_token ?? stored.visit_token,
    images: merged(news.images ?? [], stored.images),
    comparisons: merged(news.comparisons ?? [], stored.comparisons),
    trajectories: merged(news.trajectories ?? [], stored.trajectories),
  });
  if (news.columns) remember(["columns"], news.columns);
  if (news.shelf) rememberBeside(["shelf"], news.shelf);
  if (news.address) show(news.address);
}

// ---- settings -----------------------------------------------------------------------------------------------------

/**
 * @param {string[]} names
 * @param {unknown[]} values
 * @returns {Settings}
 */
const named = (names, values) => Object.fromEntries(names.map((name, i) => [name, values[i]]));

/**
 * The fields that a person has changed since the server was asked. What belongs to a field, as a knob to its solver,
 * goes with it.
 * @param {Settings} before
 * @param {Settings} now
 * @returns {(field: string) => boolean}
 */
export function ownChanges(before, now) {
  const own = new Set(changed(before, now).filter((field) => field in before && field in now));
  return (field) => own.has(field) || own.has(field.split(".")[0]);
}

/**
 * What the page began with, field by field: where a control holds something else before the server has answered, a
 * person was quicker than all the rest of the page.
 * @param {Settings} begun
 */
export function begin(begun) {
  if (!placed) asked = { ...asked, ...begun };
}

/**
 * The settings as they stand, whenever one changes.
 * @param {string[]} names
 * @param {...unknown} values
 */
export function remember(names, ...values) {
  settings = { ...settings, ...named(names, values) };
  announce("settings", undefined);
  if (placed) offerUndo(undoList.note(settings, performance.now()));
  else undoList.now = settings; // what the page begins with is no change
  store(names, values);
}

/**
 * The same for what undo does not reach: fields of other tabs.
 * @param {string[]} names
 * @param {...unknown} values
 */
export function rememberBeside(names, ...values) {
  beside = { ...beside, ...named(names, values) };
  store(names, values);
}

/**
 * @param {string[]} names that are new
 * @param {unknown[]} values
 */
function store(names, values) {
  if (!placed) asked = { ...named(names, values), ...asked };
  if (!arrived) return;
  const now = { ...settings, ...beside }, isOwn = ownChanges(asked, now);
  const waiting = Object.fromEntries(Object.entries(unplaced).filter(([field]) => !isOwn(field)));
  const all = { ...now, ...waiting };
  write(localStorage, VISIT, { ...read(localStorage, VISIT, NOTHING), settings: all });
  write(sessionStorage, TAB, { ...read(sessionStorage, TAB, {}), settings: all });
}

/** The server is asked for settings: what a person does from now on is later than what it will answer. */
function ask() {
  asked = { ...settings, ...beside };
  choseTab = false;
}

/**
 * What the server answered, for the tabs and for each of these fields: as it says, but for what a person has changed
 * since it was asked.
 * @param {string[]} names
 * @param {string} text of `VisitNews`
 * @param {...unknown} values of the fields, as they stand
 */
export function place(names, text, ...values) {
  /** @type {VisitNews} */
  const { fields = {}, tab } = JSON.parse(text), now = named(names, values), isOwn = ownChanges(asked, now);
  unplaced = {};
  if (!placed) setTimeout(() => settled(asKept(fields), isOwn), DRAWING);
  const goes = tab !== undefined && !choseTab;
  if (goes) tabInView = tab;
  // what stands there already is left alone as well: between this answer and its place in the page somebody may type
  const stands = (/** @type {string} */ name) => JSON.stringify(fields[name]) === JSON.stringify(now[name]);
  brought(Object.fromEntries(valuesOf(fields).filter(([name]) => !isOwn(name))));
  return [
    goes ? { __type__: "update", selected: tab } : undefined,
    ...names.map((name) => (isOwn(name) || stands(name) ? undefined : fields[name])),
  ];
}

/**
 * The settings as the server gave them back.
 * @param {Settings} fields values, or updates of controls
 * @returns {Settings}
 */
function asKept(fields) {
  return { ...settings, ...Object.fromEntries(valuesOf(fields).filter(([field]) => field in settings)) };
}

/**
 * What fields will hold.
 * @param {Settings} fields values, or updates of controls
 * @returns {[string, unknown][]}
 */
function valuesOf(fields) {
  return Object.entries(fields).flatMap(([field, given]) => {
    const update = /** @type {{ __type__?: string, value?: unknown } | null} */ (given);
    const value = update?.__type__ === "update" ? update.value : given;
    return value === undefined ? [] : [[field, value]];
  });
}

/**
 * These values are the server's and no person's change, although the controls hold them only soon: Forward may be
 * pressed before they do what Back asked for.
 * @param {Settings} values
 */
function brought(values) {
  const of = (/** @type {Settings} */ kept) => Object.fromEntries(Object.entries(values).filter(([name]) => name in kept));
  settings = { ...settings, ...of(settings) };
  beside = { ...beside, ...of(beside) };
  asked = { ...asked, ...of(asked) };
}

/**
 * The page is what it was before: what happens from now on is what a person does; what happened earlier can be undone.
 * @param {Settings} [kept]
 * @param {(field: string) => boolean} [isOwn]
 */
function settled(kept = settings, isOwn = () => false) {
  if (placed) return;
  placed = true;
  nowPlaced();
  undoList.now = kept;
  const own = Object.entries(settings).filter(([field]) => isOwn(field));
  offerUndo(undoList.note({ ...kept, ...Object.fromEntries(own) }, performance.now()));
  if (choseTab) tabChosen(tabInView);
}

/**
 * Values as they are, once the page is what it was before: what is begun earlier would belong to no visit.
 * @param {...unknown} values
 */
export async function whenReturned(...values) {
  if (!placed) sayWaiting();
  await whenPlaced;
  return values;
}

/** Says what a click waits for, once for all of them, until it begins. */
function sayWaiting() {
  if (find(".nw-waiting")) return;
  const note = element("p", { class: "nw-waiting", role: "status" }, "The page is still being put back as it was. What you asked for begins then.");
  addToPage(note);
  void whenPlaced.then(() => note.remove());
}

/** @param {boolean} possible */
function offerUndo(possible) {
  const undo = find("[data-settings=undo]");
  if (undo instanceof HTMLButtonElement) undo.disabled = !possible;
}

/** The settings as they were before the last change; whether there was one. */
export function undo() {
  const before = undoList.undo();
  if (before) put(before);
  offerUndo(undoList.before.length > 0);
  return before !== null;
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
  choseTab ||= tab !== tabInView;
  tabInView = tab;
  if (placed && tab !== tabOf(location.hash)) history.pushState(null, "", addresses[tab] || `#${tab}`);
}

// @ts-check
/** The stack of methods: its cards, and one JSON text of them that goes to the server and comes back from it. */
import { actButton, around, element, find, findAll, need, serverMarkup } from "./element.js";
import { numberOf, onValue } from "./gradio.js";
import { USUAL_FIT } from "./image_fit.js";
import { withImage } from "./image_uses.js";
import { inputField, preprocessorOf } from "./input_fields.js";
import { knobField } from "./knob_fields.js";
import { usualDegradation } from "./degradation_field.js";
import { lookAgain } from "./preview_figure.js";
import { announce, catalogue, learn, listen, page } from "./page_state.js";
import { ACTS, backdrop, compareOrder, isEmpty, isSilent, isUnanswered, newCard, readStack, writeStack } from "./stack_model.js";

/** @import { Component } from "./gradio.js" */
/** @import { Catalogue, ImageUse, Marks, Method } from "./server.d.ts" */
/** @import { Card } from "./stack_model.js" */

/** @type {Card[]} */
let cards = [];
/** @type {Component | null} */
let component = null;
/** @type {Pick<Marks, "problems" | "notes">} what the server says at the cards */
let marks = { problems: {}, notes: {} };
/** @type {Record<string, string>} field -> what went wrong on the page, until the stack changes */
let troubles = {};

/** @type {(a: Card, b: Card) => number} */
const order = (a, b) => compareOrder(catalogue().methods, a, b);
const isReady = () => component !== null && page.catalogue !== null;

/** @param {string} name of a method */
export const isInStack = (name) => cards.some((card) => card.name === name);

/** The stack as the server gets it next. */
export const stackText = () => writeStack(cards);

function send() {
  troubles = {};
  if (component) component.props.value = stackText();
}

/** @param {string} text from the server */
function adopt(text) {
  cards = readStack(text, cards);
  const sorted = cards.toSorted(order);
  const moved = sorted.some((card, i) => card !== cards[i]);
  cards = sorted;
  render();
  if (moved) send();
}
const sizeNow = () => `${numberOf("width", 0)} x ${numberOf("height", 0)}`;
let drawnFor = ""; // the size of the result that the cards show
const drawAtNewSize = () => { if (isReady() && sizeNow() !== drawnFor) render(); };

/** @param {string} name of a method */
export function addToStack(name) {
  if (isInStack(name)) return;
  cards.forEach((card) => { card.open = false; });
  cards.push(newCard(name));
  cards.sort(order);
  render();
  send();
  focusCard(cards.findIndex((card) => card.name === name));
}

/** @returns {readonly Card[]} */
export const cardsInStack = () => cards;

/**
 * An image in its place in the stack, in view.
 * @param {ImageUse} use
 * @param {string} sha
 */
export function giveImage(use, sha) {
  const kind = catalogue().methods[use.method].inputs.find(({ name }) => name === use.input)?.kind ?? "";
  cards = withImage(cards, use, kind, sha, usualDegradation()).sort(order);
  render();
  send();
  const i = cards.findIndex(({ name }) => name === use.method);
  document.getElementById(`methods.${i}`)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
  focusCard(i);
}

/**
 * Asks for the example of a method: into its card, or as the whole stack, which is then run.
 * @param {string} name
 * @param {boolean} alone
 */
export function askForExample(name, alone) {
  component?.trigger(alone ? "attempt" : "example", { name, alone });
}

/**
 * @param {string} what
 * @param {number} i
 */
function act(what, i) {
  if (!cards[i]) return;
  if (what === "show") {
    cards[i].open = true;
    render();
    document.getElementById(`methods.${i}`)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    focusCard(i);
    return;
  }
  ACTS[what]?.(cards, i);
  render();
  send();
}

/** @param {number} i */
function focusCard(i) {
  document.getElementById(`methods.${i}`)?.querySelector("button")?.focus({ preventScroll: true });
}

// ---- cards --------------------------------------------------------------------------------------------------------

/** @param {string} family */
export function familyGlyph(family) {
  const markup = catalogue().families.find((one) => one.key === family)?.glyph ?? "";
  return element("span", { class: "nw-glyph-holder" }, serverMarkup(markup));
}

/**
 * A letter on a card that acts on it.
 * @param {string} what
 * @param {number} i
 * @param {string} letter
 * @param {string} label
 * @param {string} title of the method
 * @param {Record<string, string | boolean>} [more]
 */
function tool(what, i, letter, label, title, more = {}) {
  return element("button", {
    type: "button", class: "nw-letter", "data-card": what, "data-place": i, "data-keep": `${what}.${i}`, title: label,
    "aria-label": `${label}: ${title}`, ...more,
  }, letter);
}

/**
 * @param {Card} card
 * @param {number} i
 */
function drawnCard(card, i) {
  const method = catalogue().methods[card.name], id = `methods.${i}`;
  if (!method) { // of another version, or a file that was taken away
    const head = element("div", { class: "nw-method-head" }, element("b", {}, card.name), tool("remove", i, "×", "Remove", card.name));
    return element("li", { class: "nw-method", id }, head);
  }
  const isEqual = (/** @type {number} */ j) => cards[j] !== undefined && order(cards[j], card) === 0;
  const isFree = isEqual(i - 1) || isEqual(i + 1);
  const fold = element("button", {
    type: "button", class: "nw-fold", "aria-expanded": String(card.open), "data-keep": `fold.${i}`,
    onclick: () => { card.open = !card.open; render(); },
  }, familyGlyph(method.family), element("b", {}, method.title));
  const head = element("div", { class: "nw-method-head" }, fold,
    isFree && tool("up", i, "↑", "Earlier", method.title, { disabled: !isEqual(i - 1) }),
    isFree && tool("down", i, "↓", "Later", method.title, { disabled: !isEqual(i + 1) }),
    tool("mute", i, "M", "Mute", method.title, { "aria-pressed": String(card.muted) }),
    tool("solo", i, "S", "Solo", method.title, { "aria-pressed": String(card.solo) }),
    tool("remove", i, "×", "Remove", method.title));
  const silent = isSilent(cards, card) ? " nw-silent" : "";
  return element("li", { class: `nw-method${silent}`, id, style: `--family: var(--nw-${method.family})` },
    head, card.open && cardBody(card, i, method));
}

/**
 * @param {Card} card
 * @param {number} i
 * @param {Method} method
 */
function cardBody(card, i, method) {
  const id = `methods.${i}`;
  /** @type {(part: "knobs" | "inputs", name: string) => (value: any, again?: boolean) => void} */
  const setter = (part, name) => (value, again) => {
    const now = cards.find((one) => one.name === card.name); // an upload may end after the server has sent the stack anew
    if (!now) return;
    if (part === "inputs" && isEmpty(value)) delete now.inputs[name]; else now[part][name] = value;
    if (again) render();
    const field = document.getElementById(`${id}.${part}.${name}`);
    if (field && part === "inputs") field.dataset.empty = String(isEmpty(value));
    send();
  };
  const ofInputs = new Set(method.inputs.map(({ name }) => preprocessorOf(method, name)?.name)); // they stand at their inputs
  const knobs = method.knobs.filter(({ name }) => !ofInputs.has(name)).map((knob) =>
    knobField(`${id}.knobs.${knob.name}`, knob, card.knobs[knob.name], setter("knobs", knob.name)));
  const inputs = method.inputs.map((input) => inputField({
    id: `${id}.inputs.${input.name}`, input, method, value: card.inputs[input.name], knobs: card.knobs, changeKnob: (name, to) => setter("knobs", name)(to, true),
    backdrop: backdrop(card, method), fit: card.fit[input.name] ?? USUAL_FIT, change: setter("inputs", input.name),
    edge: card.mask_edges[input.name] ?? {},
    changeEdge: (edge) => { if (edge.grow || edge.feather) card.mask_edges[input.name] = edge; else delete card.mask_edges[input.name]; send(); },
    changeFit: (fit) => { if (fit === USUAL_FIT) delete card.fit[input.name]; else card.fit[input.name] = fit; render(); send(); },
  }));
  const shown = knobs.length > 4 ? 3 : knobs.length, rest = knobs.slice(shown);
  const more = element("details", {
    class: "nw-more", open: Boolean(card.more), ontoggle: () => { card.more = more.open; },
  }, element("summary", {}, `${rest.length} more settings`), ...rest);
  return element("div", { class: "nw-method-body" },
    element("p", { class: "nw-quiet" }, `${method.summary} `, paperLink(method)),
    element("div", { class: "nw-tools" }, actButton("Fill with an example", () => askForExample(card.name, false), { "data-keep": `example.${i}` })),
    ...inputs, ...knobs.slice(0, shown), rest.length > 0 && more,
    element("p", { class: "nw-quiet" }, `${method.cost}.`),
    Boolean(method.differs) && element("details", { class: "nw-more nw-differs" },
      element("summary", {}, "What the authors do otherwise"), element("p", { class: "nw-quiet" }, method.differs)));
}

/** @param {Method} method */
export function paperLink(method) {
  return element("a", { href: method.link, target: "_blank", rel: "noreferrer" }, `arXiv ${method.paper}`);
}

/** All cards anew; the focus stays where it was. */
function render() {
  if (!component || !page.catalogue) return;
  const root = component.element;
  drawnFor = sizeNow();
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.keep : "";
  need(".nw-cards", root).replaceChildren(...cards.map(drawnCard));
  need(".nw-none", root).hidden = cards.length > 0;
  if (focused) find(`[data-keep="${CSS.escape(focused)}"]`, root)?.focus({ preventScroll: true });
  drawMarks();
  announce("stack", undefined);
}

// ---- what the server says of the stack ----------------------------------------------------------------------------

/** @param {string} field such as methods.0.inputs.mask */
function isWanting(field) {
  const [, i, part, name] = field.split(".");
  return part === "inputs" && isUnanswered(cards[Number(i)]?.inputs[name], catalogue().operators);
}

/**
 * @param {string} field
 * @param {HTMLElement} root
 */
function placeOf(field, root) {
  if (field === "methods") return root;
  return document.getElementById(field) ?? document.getElementById(field.split(".").slice(0, 2).join("."));
}

/** @param {boolean} [loud] whether what is only missing is a problem, and the first problem gets the focus */
function drawMarks(loud = false) {
  const root = component?.element;
  if (!root) return;
  findAll(".nw-mark", root).forEach((mark) => mark.remove());
  findAll("[aria-invalid]", root).forEach((one) => one.removeAttribute("aria-invalid"));
  for (const [field, words] of Object.entries(marks.notes)) {
    const place = placeOf(field, root);
    const under = place && find(".nw-measured figcaption", place);
    (under ?? place)?.append(element("p", { class: "nw-mark nw-quiet", role: "note" }, words));
  }
  /** @type {HTMLElement | null} */
  let first = null;
  for (const [field, words] of Object.entries({ ...marks.problems, ...troubles })) {
    const place = placeOf(field, root);
    if (!place) continue;
    const isQuiet = !loud && isWanting(field);
    const mark = element("p", { class: `nw-mark ${isQuiet ? "nw-note nw-warn" : "nw-problem"}`, role: isQuiet ? "note" : "alert" }, words);
    const body = find(":scope > .nw-method-body", place);
    if (body) body.prepend(mark); else place.append(mark);
    if (isQuiet) continue;
    const input = find("textarea, input:not([type=range]), select, canvas, button", place);
    input?.setAttribute("aria-invalid", "true");
    first ??= input;
  }
  if (loud) first?.focus();
}

/**
 * Problems of a run that was refused: said loudly, in opened cards.
 * @param {Record<string, string>} problems
 */
export function refuse(problems) {
  for (const field of Object.keys(problems)) {
    const card = cards[Number(field.split(".")[1])];
    if (card) card.open = true;
  }
  marks = { ...marks, problems: { ...marks.problems, ...problems } };
  render();
  drawMarks(true);
}
listen("trouble", ({ field, words }) => {
  troubles[field] = words;
  drawMarks(true);
});

listen("settings", () => setTimeout(drawAtNewSize, 100)); // a width and height of the server's are in their fields a moment later
listen("shape", ({ width, height }) => component?.trigger("aspect", { aspect: `${width}:${height}` }));

/** @param {Component} messages the component that brings what the server says at the cards */
export function mountMarks(messages) {
  onValue(messages, (text) => {
    /** @type {Marks} */
    const sent = JSON.parse(text);
    if (sent.visit_token === undefined) return; // "{}", before the server has said anything
    marks = sent;
    const filesBefore = JSON.stringify(page.loras);
    learn(sent);
    if (isReady() && JSON.stringify(page.loras) !== filesBefore) render();
    if (isReady()) { drawMarks(); lookAgain(); }
    announce("unused", sent.unused);
    announce("wrong", sent.wrong);
    announce("stack", undefined);
  });
}

// ---- the component ------------------------------------------------------------------------------------------------

/**
 * @param {Component} mounted
 * @param {() => void} pick opens the list of all methods
 */
export function mountStack(mounted, pick) {
  component = mounted;
  const root = mounted.element;
  const add = actButton("Add a method", () => { if (page.catalogue) pick(); }, { id: "add-method", "aria-haspopup": "dialog" });
  root.replaceChildren(
    element("div", { class: "nw-methods-head" }, element("h2", {}, "Methods"), add),
    element("p", { class: "nw-none nw-quiet" }, "No methods yet: only the prompt guides the image. Add one to edit, restore or lay out an image."),
    element("ol", { class: "nw-cards", "aria-label": "Methods in use" }));
  mounted.watch("value", () => { if (page.catalogue && mounted.props.value !== stackText()) adopt(mounted.props.value); });
  void load(root);
}

/** @param {HTMLElement} root */
async function load(root) {
  root.dataset.state = "loading";
  try {
    page.catalogue ??= /** @type {Catalogue} */ (await (await fetch("catalogue.json")).json());
  } catch { // the server is away
    root.dataset.state = "failed";
    const note = element("p", { class: "nw-note nw-error", role: "alert" }, "The list of methods did not load. ",
      actButton("Load it again", () => { note.remove(); void load(root); }));
    root.append(note);
    return;
  }
  root.dataset.state = "ready";
  if (component) adopt(component.props.value);
}

document.addEventListener("click", (event) => {
  const hit = around(event, "[data-card]");
  if (!hit) return;
  event.preventDefault();
  act(hit.dataset.card ?? "", Number(hit.dataset.place));
});
// a mask and boxes are drawn on a sheet of the result's shape
document.addEventListener("change", (event) => { if (around(event, "#width, #height")) drawAtNewSize(); });

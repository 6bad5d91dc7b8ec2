// @ts-check
/** The fields of a method's knobs: a number, a number that changes over the steps, a choice, a switch. */
import { element, svg } from "./element.js";
import { curvePoints, plain } from "./format.js";
import { clamp, percentOf, scale } from "./geometry.js";

/** @import { ChoiceKnob, NumberKnob, SwitchKnob } from "./server.d.ts" */
/** @import { KnobValue } from "./stack_model.js" */
/** @typedef {(value: KnobValue, again?: boolean) => void} Change called when a value has come to rest; `again`: draw the card anew */

/** The part of a slider left of its thumb is dark. @param {HTMLInputElement} range */
function paintTrack(range) {
  range.style.setProperty("--range_progress", `${percentOf(Number(range.value), Number(range.min), Number(range.max))}%`);
}

/**
 * @param {NumberKnob} knob
 * @param {number} value
 * @param {Change} change
 * @param {(value: number) => void} live called on the way, too
 */
function slider(knob, value, change, live) {
  const range = element("input", {
    type: "range", min: knob.low, max: knob.high, step: knob.step, value, "aria-label": `${knob.label}, slider`, tabindex: -1,
    oninput: () => { box.value = plain(Number(range.value)); paintTrack(range); live(Number(range.value)); },
    onchange: () => change(Number(range.value)),
  });
  const box = element("input", {
    type: "number", min: knob.low, max: knob.high, step: "any", value: plain(value), "aria-label": knob.label,
    onchange: () => { range.value = box.value; paintTrack(range); if (box.value !== "") change(Number(box.value)); },
  });
  paintTrack(range);
  return element("div", { class: "nw-slider" }, range, box);
}

/** What an option of a choice is called, where it is not its name. @type {Record<string, string>} */
const OPTIONS = { "as it is": "none (taken as it is)" };
const [WIDTH, HEIGHT, EDGE] = [200, 48, 4];

/**
 * @param {NumberKnob} knob
 * @param {string} text
 */
function curvePlot(knob, text) {
  const x = scale([0, 1], [EDGE, WIDTH - EDGE]), y = scale([knob.low, knob.high], [HEIGHT - EDGE, EDGE]);
  const corners = (curvePoints(text) ?? []).map(([at, value]) => [x(clamp(at, 0, 1)), y(value)]);
  const line = corners.length ? [[EDGE, corners[0][1]], ...corners, [WIDTH - EDGE, corners[corners.length - 1][1]]] : [];
  const viewBox = `0 0 ${WIDTH} ${HEIGHT}`;
  return element("div", { class: "nw-plot", "aria-hidden": "true" },
    svg("svg", { viewBox, preserveAspectRatio: "none" },
      svg("path", { d: `M${EDGE} ${HEIGHT - EDGE}H${WIDTH - EDGE}M${EDGE} ${EDGE}H${WIDTH - EDGE}` }),
      svg("polyline", { points: line.map((point) => point.join()).join(" ") })),
    svg("svg", { class: "nw-dots", viewBox }, ...corners.map(([cx, cy]) => svg("circle", { cx, cy, r: 3 }))),
    element("span", {}, plain(knob.high)), element("span", {}, plain(knob.low)),
    element("span", {}, "first step"), element("span", {}, "last step"));
}

/**
 * @param {NumberKnob} knob
 * @param {string} text
 * @param {Change} change
 */
function curve(knob, text, change) {
  let plot = curvePlot(knob, text);
  const box = element("input", {
    type: "text", value: text, spellcheck: "false", class: "nw-mono", "aria-label": `${knob.label}: fraction of the steps : value, ...`,
    oninput: () => { const next = curvePlot(knob, box.value); plot.replaceWith(next); plot = next; },
    onchange: () => change(box.value),
  });
  return element("div", { class: "nw-curve" }, box, plot);
}

/**
 * The button between one number and a curve.
 * @param {string} id
 * @param {NumberKnob} knob
 * @param {number | string} value
 * @param {Change} change
 */
function curveSwitch(id, knob, value, change) {
  const isCurve = typeof value === "string";
  const other = () => (isCurve ? curvePoints(value)?.[0]?.[1] ?? knob.default : `0:${plain(value)}, 1:${plain(value)}`);
  return element("button", {
    type: "button", class: "nw-link", "aria-pressed": String(isCurve), "data-keep": `${id}.curve`,
    onclick: () => change(other(), true),
  }, isCurve ? "One number" : "Over the steps");
}

/**
 * @param {string} id of the field
 * @param {ChoiceKnob | SwitchKnob | NumberKnob} knob
 * @param {KnobValue | undefined} set undefined: the default
 * @param {Change} change
 * @param {(value: number) => void} [live]
 */
export function knobField(id, knob, set, change, live = () => {}) {
  const value = set ?? knob.default;
  const head = element("div", { class: "nw-field-head" }, element("span", {}, knob.label));
  const help = knob.help && element("p", { class: "nw-quiet" }, knob.help);
  /** @param {...HTMLElement} inside */
  const field = (...inside) => element("div", { class: "nw-field", id }, ...inside, help);
  if (knob.type === "choice") { // what else a card asks for may depend on it
    const select = element("select", { "aria-label": knob.label, "data-keep": id, onchange: () => change(select.value, true) },
      ...knob.options.map((option) => element("option", { value: option, selected: option === value }, OPTIONS[option] ?? option)));
    return field(head, select);
  }
  if (knob.type === "bool") {
    const box = element("input", { type: "checkbox", checked: Boolean(value), onchange: () => change(box.checked) });
    return field(element("label", { class: "nw-check" }, box, knob.label));
  }
  const isCurve = typeof value === "string" && value.includes(":");
  if (knob.curve) head.append(curveSwitch(id, knob, isCurve ? value : Number(value), change));
  return field(head, isCurve ? curve(knob, value, change) : slider(knob, Number(value), change, live));
}

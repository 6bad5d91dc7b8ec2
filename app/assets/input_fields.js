// @ts-check
/** The field of an input of a method: words, images, masks, boxes, points, a degraded image. */
import { degradationField } from "./degradation_field.js";
import { element } from "./element.js";
import { imageField, referencesField } from "./image_fields.js";
import { knobField } from "./knob_fields.js";
import { loraField } from "./lora_field.js";
import { maskDrawing } from "./mask_drawing.js";
import { page } from "./page_state.js";
import { boxesDrawing, pointsDrawing } from "./places_drawing.js";
import { previewFigure, questionOf } from "./preview_figure.js";
import { isEmpty } from "./stack_model.js";

/** @import { Backdrop } from "./sheet.js" */
/** @import { BoxValue, DegradationValue, Input, MaskEdge, Method, PointValue } from "./server.d.ts" */
/** @import { InputValue, KnobValue } from "./stack_model.js" */

/**
 * @typedef {object} InputField
 * @property {string} id
 * @property {Input} input
 * @property {Method} method
 * @property {InputValue | undefined} value
 * @property {Record<string, KnobValue>} knobs of the card: an input may be needed by a choice only
 * @property {(name: string, value: KnobValue) => void} changeKnob
 * @property {Backdrop} backdrop the image that a mask or boxes are drawn over
 * @property {string} fit how its images get to the size of the result
 * @property {(fit: string) => void} changeFit
 * @property {MaskEdge} edge of a mask
 * @property {(edge: MaskEdge) => void} changeEdge
 * @property {(value: InputValue | null, again?: boolean) => void} change `again`: draw the card anew
 */

/** @type {Record<Input["kind"], string>} */
const KINDS = {
  image: "image", map: "map", mask: "mask", prompt: "prompt", words: "words of the prompt",
  network: "one of the model's", boxes: "boxes", points: "points", references: "images", operator: "degraded image",
  loras: "LoRA files",
};

/**
 * When an input may be left out: "", "optional", or for which options of a choice it is needed.
 * @param {Input} input
 * @param {Method} method
 * @param {Record<string, KnobValue>} knobs
 */
export function whenNeeded(input, method, knobs) {
  const choices = Object.entries(input.wanted_by);
  const chosen = (/** @type {string} */ name) => knobs[name] ?? method.knobs.find((one) => one.name === name)?.default;
  if (!input.optional || choices.some(([name, options]) => options.includes(String(chosen(name))))) return "";
  return choices.length ? `for ${choices.flatMap(([, options]) => options).join(", ")}` : "optional";
}

/**
 * The knob that says how a map is found in an image that is given as this input; undefined where there is none.
 * @param {Method} method
 * @param {string} input
 */
export function preprocessorOf(method, input) {
  return method.knobs.find(({ name }) => name === `${input}_by`);
}

/** An image that is a map, or that a map is made of: then the map is shown. @param {InputField} field */
function mapField({ id, input, method, value, knobs, fit, change, changeKnob, changeFit }) {
  const sha = String(value ?? ""), knob = preprocessorOf(method, input.name);
  const given = imageField({ id, label: input.label, sha, fit, change: (to) => change(to, true), changeFit });
  if (!knob) return given;
  const by = knobs[knob.name] ?? knob.default, field = knobField(id.replace(/inputs\.[^.]+$/, `knobs.${knob.name}`), knob, by, (to) => changeKnob(knob.name, to));
  if (!sha || by === knob.default) return element("div", { class: "nw-operator" }, given, field);
  const { figure, look } = previewFigure(`${input.label}: what the network reads`,
    () => questionOf({ method: method.name, input: input.name, given: sha, knobs: { [knob.name]: by }, fit }));
  void look();
  return element("div", { class: "nw-operator" }, given, field, figure);
}

/**
 * The ControlNets of the model, or its adapters of another kind, by name; one that another model has stays chosen until
 * another is.
 * @param {string} of
 * @param {string} label
 * @param {string} value
 * @param {(value: string) => void} change
 */
function networkField(of, label, value, change) {
  const begin = `${of}:`;
  const there = (page.offers ?? []).filter((one) => one.startsWith(begin)).map((one) => one.slice(begin.length));
  const names = value && !there.includes(value) ? [...there, value] : there;
  const select = element("select", { "aria-label": label, onchange: () => change(select.value) },
    element("option", { value: "" }, "none"), ...names.map((one) => element("option", { value: one }, one)));
  select.value = value;
  return select;
}

/** @param {InputField} field */
function control(field) {
  const { id, input, method, value, backdrop, fit, change, changeFit, edge, changeEdge } = field;
  const { label, kind, name } = input;
  const again = (/** @type {InputValue | null} */ to) => change(to, true);
  switch (kind) {
    case "prompt":
    case "words": {
      const box = element("textarea", { rows: kind === "prompt" ? 2 : 1, "aria-label": label, onchange: () => change(box.value) }, String(value ?? ""));
      return box;
    }
    case "network":
      return networkField(input.of, label, String(value ?? ""), change);
    case "loras":
      return loraField({ id, label, value: String(value ?? ""), change });
    case "map":
      return mapField(field);
    case "image":
      return imageField({ id, label, sha: String(value ?? ""), fit, change: again, changeFit });
    case "references":
      return referencesField({ id, label, shas: /** @type {string[]} */ (value ?? []), fit, change: again, changeFit });
    case "operator":
      return degradationField({ id, name, label, method: method.name, value: /** @type {DegradationValue | null} */ (value ?? null), fit, change, changeFit });
    case "mask":
      return maskDrawing({ field: id, label, value: String(value ?? ""), backdrop, change, edge, changeEdge });
    case "boxes":
      return boxesDrawing(label, /** @type {BoxValue[]} */ (value ?? []), backdrop, change);
    case "points":
      return pointsDrawing(label, /** @type {PointValue[]} */ (value ?? []), backdrop, change);
  }
}

/** @param {InputField} field */
export function inputField(field) {
  const { id, input, method, value, knobs } = field, { label } = input;
  const kind = KINDS[input.kind];
  const what = [kind === label.toLowerCase() ? "" : kind, whenNeeded(input, method, knobs)].filter(Boolean).join(", ");
  const isDegradation = typeof value === "object" && value !== null && !Array.isArray(value);
  const empty = isDegradation ? !value.image : isEmpty(value);
  return element("div", { class: "nw-field", id, role: "group", "aria-label": label, "data-empty": String(empty) },
    element("div", { class: "nw-field-head" }, element("span", {}, label), element("span", { class: "nw-quiet" }, what)),
    input.help && element("p", { class: "nw-quiet" }, input.help),
    control(field));
}

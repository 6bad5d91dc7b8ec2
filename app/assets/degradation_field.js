// @ts-check
/** The field of a degraded image: the image, what is done to it, and the observation that the method will get. */
import { element } from "./element.js";
import { imageField } from "./image_fields.js";
import { knobField } from "./knob_fields.js";
import { maskDrawing } from "./mask_drawing.js";
import { catalogue } from "./page_state.js";
import { previewFigure, questionOf } from "./preview_figure.js";

/** @import { DegradationValue, MaskParameter, NumberKnob } from "./server.d.ts" */

/** @type {NumberKnob} */
const NOISE = {
  name: "sigma_y", label: "Observation noise (sigma_y)", type: "float", low: 0, high: 1, step: 0.01, default: 0,
  help: "Standard deviation, where images go from -1 to 1",
};

/** What is done to an image before anyone has chosen. @returns {DegradationValue} */
export function usualDegradation() {
  const { operators } = catalogue();
  const usual = operators.find((one) => one.name === "super_resolution") ?? operators[0];
  return { image: "", name: usual.name, parameters: {}, sigma_y: 0, seed: 0 };
}

/**
 * @param {object} field
 * @param {string} field.id
 * @param {string} field.name of the input
 * @param {string} field.label
 * @param {string} field.method
 * @param {DegradationValue | null} field.value
 * @param {string} field.fit how the image gets to the size of the result
 * @param {(value: DegradationValue, again: boolean) => void} field.change
 * @param {(fit: string) => void} field.changeFit
 */
export function degradationField({ id, name, label, method, value, fit, change, changeFit }) {
  const { operators } = catalogue();
  let degradation = value ?? usualDegradation();
  const operator = operators.find((one) => one.name === degradation.name) ?? operators[0];
  let seen = degradation; // while a knob moves, ahead of what is chosen
  const { figure, look: lookNow } = previewFigure(`${label}: the observation`, () => (seen.image ? questionOf({ method, input: name, given: seen, fit }) : ""));
  const look = (/** @type {DegradationValue} */ value) => { seen = value; void lookNow(); };
  /** @type {(part: Partial<DegradationValue>, again?: boolean) => void} */
  const set = (part, again = false) => { degradation = { ...degradation, ...part }; change(degradation, again); look(degradation); };
  const parameter = (/** @type {MaskParameter | NumberKnob} */ one) => {
    const withIt = (/** @type {any} */ to) => ({ parameters: { ...degradation.parameters, [one.name]: to } });
    if (one.type !== "mask") {
      return knobField(`${id}.${one.name}`, one, degradation.parameters?.[one.name], (to, again) => set(withIt(to), again),
        (to) => look({ ...degradation, ...withIt(to) }));
    }
    return element("div", { class: "nw-field" },
      element("div", { class: "nw-field-head" }, element("span", {}, one.label)),
      maskDrawing({
        field: id, label: one.label, value: String(degradation.parameters?.mask ?? ""), backdrop: { sha: degradation.image ?? "", fit },
        change: (sha) => set(withIt(sha)),
      }));
  };
  const select = element("select", { "aria-label": `${label}: degradation`, onchange: () => set({ name: select.value, parameters: {} }, true) },
    ...operators.map((one) => element("option", { value: one.name, selected: one.name === degradation.name }, one.title)));
  look(degradation);
  return element("div", { class: "nw-operator" },
    imageField({ id, label, sha: degradation.image ?? "", fit, change: (sha) => set({ image: sha }, true), changeFit }), figure,
    element("div", { class: "nw-field" }, element("div", { class: "nw-field-head" }, element("span", {}, "Degradation")), select),
    ...operator.parameters.map(parameter),
    knobField(`${id}.sigma_y`, NOISE, degradation.sigma_y, (to) => set({ sigma_y: Number(to) }), (to) => look({ ...degradation, sigma_y: to })));
}

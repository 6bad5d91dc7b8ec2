// @ts-check
/** The field of a degraded image: the image, what is done to it, and the observation that the method will get. */
import { element, findAll } from "./element.js";
import { imageField } from "./image_fields.js";
import { knobField } from "./knob_fields.js";
import { maskDrawing } from "./mask_drawing.js";
import { catalogue, page } from "./page_state.js";
import { sheetSize } from "./sheet.js";
import { observation } from "./uploads.js";

/** @import { DegradationValue, MaskParameter, NumberKnob, Preview } from "./server.d.ts" */

const MOST = 64; // observations remembered
/** @type {Map<string, Preview>} question -> answer: a card that is drawn anew asks nothing */
const answers = new Map();

/** @param {string} question */
async function ask(question) {
  const known = answers.get(question);
  if (known) return known;
  const answer = await observation(question);
  if (answer.image) { // a failure is asked again
    if (answers.size >= MOST) answers.clear();
    answers.set(question, answer);
  }
  return answer;
}

/** @type {WeakMap<Element, () => void>} what looks again at an observation on the page */
const looks = new WeakMap();

/** Looks at all observations again: the network or the size has changed. */
export function lookAgain() {
  findAll(".nw-measured").forEach((figure) => looks.get(figure)?.());
}

/**
 * The observation of a degradation; `look` is called whenever that has changed.
 * @param {string} method
 * @param {string} input
 * @param {string} label
 * @param {string} fit
 */
function observed(method, input, label, fit) {
  const image = element("img", { alt: `${label}: the observation`, hidden: true }), words = element("span");
  const figure = element("figure", { class: "nw-measured" }, image, element("figcaption", { class: "nw-quiet" }, words));
  /** @type {DegradationValue | null} */
  let latest = null;
  let wanted = "", shown = "", busy = false;
  const look = async (/** @type {DegradationValue | null} */ degradation = latest) => { // of what is asked meanwhile only the newest counts
    latest = degradation;
    wanted = degradation?.image && page.backbone
      ? JSON.stringify({ method, input, given: degradation, fit, backbone: page.backbone, ...sheetSize() }) : "";
    if (busy) return;
    busy = true;
    while (shown !== wanted) {
      const question = wanted, answer = question ? await ask(question) : {};
      image.hidden = !answer.image;
      if (answer.image) image.src = answer.image;
      words.textContent = answer.words ?? "";
      shown = question;
      if (!answer.image && question === wanted) break;
    }
    if (image.hidden) shown = "";
    busy = false;
  };
  looks.set(figure, () => void look());
  return { figure, look };
}

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
  const { figure, look } = observed(method, name, label, fit);
  /** @type {(part: Partial<DegradationValue>, again?: boolean) => void} */
  const set = (part, again = false) => { degradation = { ...degradation, ...part }; change(degradation, again); void look(degradation); };
  const parameter = (/** @type {MaskParameter | NumberKnob} */ one) => {
    const withIt = (/** @type {any} */ to) => ({ parameters: { ...degradation.parameters, [one.name]: to } });
    if (one.type !== "mask") {
      return knobField(`${id}.${one.name}`, one, degradation.parameters?.[one.name], (to, again) => set(withIt(to), again),
        (to) => void look({ ...degradation, ...withIt(to) }));
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
  void look(degradation);
  return element("div", { class: "nw-operator" },
    imageField({ id, label, sha: degradation.image ?? "", fit, change: (sha) => set({ image: sha }, true), changeFit }), figure,
    element("div", { class: "nw-field" }, element("div", { class: "nw-field-head" }, element("span", {}, "Degradation")), select),
    ...operator.parameters.map(parameter),
    knobField(`${id}.sigma_y`, NOISE, degradation.sigma_y, (to) => set({ sigma_y: Number(to) }), (to) => void look({ ...degradation, sigma_y: to })));
}

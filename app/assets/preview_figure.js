// @ts-check
/** What a method will be given of an image, shown at its card before the run: the server makes it as a run would. */
import { element, findAll } from "./element.js";
import { page } from "./page_state.js";
import { sheetSize } from "./sheet.js";
import { observation } from "./uploads.js";

/** @import { Preview } from "./server.d.ts" */

const MOST = 64; // answers remembered
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

/** @type {WeakMap<Element, () => void>} what looks again at what is shown on the page */
const looks = new WeakMap();

/** Looks at everything again: the network or the size has changed. */
export function lookAgain() {
  findAll(".nw-measured").forEach((figure) => looks.get(figure)?.());
}

/**
 * The question of a card, under the settings of the page; "" before the network is known.
 * @param {{ method: string, input: string, given: unknown, fit: string, knobs?: object }} asked
 */
export function questionOf(asked) {
  return page.backbone ? JSON.stringify({ ...asked, backbone: page.backbone, ...sheetSize() }) : "";
}

/**
 * An image of the server's; `look` is called whenever its question has changed.
 * @param {string} alt
 * @param {() => string} question "" where nothing can be asked
 */
export function previewFigure(alt, question) {
  const image = element("img", { alt, hidden: true }), words = element("span");
  const figure = element("figure", { class: "nw-measured" }, image, element("figcaption", { class: "nw-quiet" }, words));
  let wanted = "", shown = "", busy = false;
  const look = async () => { // of what is asked meanwhile only the newest counts
    wanted = question();
    if (busy) return;
    busy = true;
    while (shown !== wanted) {
      const asked = wanted, answer = asked ? await ask(asked) : {};
      image.hidden = !answer.image;
      if (answer.image) image.src = answer.image;
      words.textContent = answer.words ?? answer.error ?? "";
      shown = asked;
      if (!answer.image && asked === wanted) break;
    }
    if (image.hidden) shown = "";
    busy = false;
  };
  looks.set(figure, () => void look());
  return { figure, look };
}

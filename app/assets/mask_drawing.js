// @ts-check
/** A mask drawn with a brush, by pointer or by keys, or uploaded; and its edge, grown and feathered. */
import { actButton, element } from "./element.js";
import { fraction, percentOf } from "./geometry.js";
import { isOtherShape } from "./image_fit.js";
import { knobField } from "./knob_fields.js";
import { ARROWS, placeOn, sheet, sheetSize } from "./sheet.js";
import { fittedAddress, sizeOf, upload } from "./uploads.js";

/** @import { MaskEdge, NumberKnob } from "./server.d.ts" */
/** @import { Backdrop } from "./sheet.js" */
/** @import { Place } from "./geometry.js" */

const FINE = 256; // pixels: strokes are drawn on a canvas at least this long, finer than a small image is
const SHADE = 0.62; // opacity of what is painted
const SMALLEST_BRUSH = 2;
/** @type {NumberKnob} */
const GROW = { name: "grow", label: "Grow", type: "int", low: -64, high: 64, step: 1, default: 0, help: "Pixels larger on all sides; less than 0 is smaller" };
/** @type {NumberKnob} */
const FEATHER = {
  name: "feather", label: "Feather (mask blur)", type: "float", low: 0, high: 64, step: 0.5, default: 0,
  help: "Radius in pixels. All that is shaded is made anew, and laid over the image as strongly as it is shaded",
};

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
}

/**
 * @param {string} source
 * @returns {Promise<HTMLImageElement | null>} null where it is not here any more
 */
async function loaded(source) {
  const image = element("img", { src: source });
  try { await image.decode(); } catch { return null; }
  return image;
}

/**
 * @param {object} mask
 * @param {string} mask.field the id of the field, for trouble
 * @param {string} mask.label
 * @param {string} mask.value hash of the mask that there is, or ""
 * @param {Backdrop} mask.backdrop the image under it
 * @param {(sha: string, again?: boolean) => void} mask.change
 * @param {MaskEdge | null} [mask.edge] null for a mask whose edge cannot be changed
 * @param {(edge: MaskEdge) => void} [mask.changeEdge]
 */
export function maskDrawing({ field, label, value, backdrop, change, edge = null, changeEdge = () => {} }) {
  const { width, height } = sheetSize();
  const finer = Math.max(1, FINE / Math.max(width, height));
  const W = Math.round(width * finer), H = Math.round(height * finer), largest = Math.round(W / 4);
  const drawn = element("canvas", { width: W, height: H }); // white on black: what the method gets
  const shown = element("canvas", {
    width: W, height: H, tabindex: 0, role: "application", class: "nw-brush",
    "aria-label": `${label}: paint with the pointer, or move with the arrow keys and paint with the space bar; E erases`,
  });
  const ink = contextOf(drawn), view = contextOf(shown);
  let sha = value, edgeNow = { grow: edge?.grow ?? 0, feather: edge?.feather ?? 0 };
  let radius = Math.round(W / 14), erase = false, byKeys = false;
  let at = { x: 0.5, y: 0.5 }; // of the brush that keys move
  /** @type {Place | null} */
  let last = null; // of the pointer while it paints

  const fillAll = (/** @type {"black" | "white"} */ colour) => { ink.fillStyle = colour; ink.fillRect(0, 0, W, H); };
  const words = element("p", { class: "nw-quiet" });
  /** Shows the mask: as it is painted, or as the run gets it. @param {HTMLCanvasElement | HTMLImageElement} [mask] */
  const refresh = (mask = drawn) => {
    const colour = getComputedStyle(shown).color;
    view.globalCompositeOperation = "copy";
    view.drawImage(mask, 0, 0, W, H);
    const pixels = view.getImageData(0, 0, W, H);
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i] * SHADE;
    view.putImageData(pixels, 0, 0);
    view.globalCompositeOperation = "source-in";
    view.fillStyle = colour;
    view.fillRect(0, 0, W, H);
    view.globalCompositeOperation = "source-over";
    if (!byKeys) return;
    view.strokeStyle = colour;
    view.lineWidth = 2;
    view.beginPath();
    view.arc(at.x * W, at.y * H, radius, 0, 7);
    view.stroke();
  };
  const stroke = (/** @type {Place} */ a, /** @type {Place} */ b) => {
    ink.strokeStyle = erase ? "black" : "white";
    ink.lineWidth = 2 * radius;
    ink.beginPath();
    ink.moveTo(a.x * W, a.y * H);
    ink.lineTo(b.x * W + 0.01, b.y * H); // a line without length is not drawn
    ink.stroke();
    refresh();
  };
  const finish = async () => {
    const isSome = ink.getImageData(0, 0, W, H).data.some((v, i) => i % 4 === 0 && v > 127);
    if (!isSome) { give(""); return; }
    const small = element("canvas", { width, height });
    contextOf(small).drawImage(drawn, 0, 0, width, height);
    /** @type {Blob | null} */
    const blob = await new Promise((resolve) => small.toBlob(resolve, "image/png"));
    const made = blob && await upload(blob, field);
    if (made) give(made);
  };
  const give = (/** @type {string} */ made) => { sha = made; change(made); void showGiven(); };

  ink.lineCap = "round";
  fillAll("black");
  shown.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    shown.setPointerCapture(event.pointerId);
    shown.focus({ preventScroll: true });
    byKeys = false;
    last = placeOn(event, shown);
    stroke(last, last);
  });
  shown.addEventListener("pointermove", (event) => {
    if (!last) return;
    const now = placeOn(event, shown);
    stroke(last, now);
    last = now;
  });
  const lift = () => { if (last) { last = null; void finish(); } };
  shown.addEventListener("pointerup", lift);
  shown.addEventListener("pointercancel", lift);
  shown.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (way) at = { x: fraction(at.x + (way[0] * radius) / W / 2), y: fraction(at.y + (way[1] * radius) / H / 2) };
    else if (event.key === " ") { stroke(at, at); void finish(); }
    else if (event.key.toLowerCase() === "e") eraser.click();
    else return;
    event.preventDefault();
    event.stopPropagation();
    byKeys = true;
    refresh();
  });
  shown.addEventListener("blur", () => { if (byKeys) { byKeys = false; refresh(); void showGiven(); } });

  const eraser = actButton("Erase", () => { erase = !erase; eraser.setAttribute("aria-pressed", String(erase)); }, { "aria-pressed": "false" });
  const track = () => `--range_progress: ${percentOf(radius, SMALLEST_BRUSH, largest)}%`;
  const size = element("input", {
    type: "range", min: SMALLEST_BRUSH, max: largest, value: radius, "aria-label": `${label}: brush size`, style: track(),
    oninput: () => { radius = Number(size.value); size.setAttribute("style", track()); },
  });
  const invert = () => {
    ink.globalCompositeOperation = "difference";
    fillAll("white");
    ink.globalCompositeOperation = "source-over";
    refresh();
    void finish();
  };
  const clear = () => { fillAll("black"); refresh(); give(""); };
  if (value) void showValue();

  /** The mask that there is onto the canvas that is painted on: it lies where the run has it. */
  async function showValue() {
    const mask = await loaded(fittedAddress(value, { fit: backdrop.fit, width: W, height: H, under: backdrop.sha }));
    if (!mask) return;
    ink.drawImage(mask, 0, 0);
    refresh();
    await showGiven();
  }
  /** What the run gets, with its edge; and how much of the frame that is. */
  async function showGiven() {
    const asked = sha, { grow, feather } = edgeNow;
    words.textContent = "";
    if (!asked) return;
    const mask = await loaded(fittedAddress(asked, { fit: backdrop.fit, width, height, under: backdrop.sha, grow, feather }));
    if (!mask || asked !== sha || last) return; // painted on meanwhile
    if (grow || feather) refresh(mask);
    const pixels = contextOf(element("canvas", { width, height }));
    pixels.drawImage(mask, 0, 0);
    const data = pixels.getImageData(0, 0, width, height).data;
    const part = data.reduce((sum, level, i) => (i % 4 === 0 ? sum + level : sum), 0) / (255 * width * height);
    words.textContent = `Painted: ${(100 * part).toFixed(part < 0.1 ? 1 : 0)} % of the frame.`;
  }
  const file = element("input", {
    type: "file", accept: "image/*", class: "nw-hidden", "aria-label": `${label}: upload a mask`,
    onchange: async () => {
      const [given] = file.files ?? [], made = given && await upload(await asLargeAsImage(given, backdrop.sha), field);
      file.value = "";
      if (made) change(made, true);
    },
  });
  /** @type {(name: "grow" | "feather", knob: NumberKnob) => HTMLElement} */
  const edgeField = (name, knob) => knobField(`${field}.${name}`, knob, edgeNow[name], (to) => {
    edgeNow = { ...edgeNow, [name]: Number(to) };
    changeEdge(edgeNow);
    refresh();
    void showGiven();
  });
  return element("div", { class: "nw-drawing" }, sheet(backdrop, shown), words,
    element("div", { class: "nw-tools" }, element("label", { class: "nw-brush-size" }, "Brush", size), eraser,
      actButton("Invert", invert), actButton("Clear", clear),
      element("label", { class: "nw-act nw-upload", title: "White is repainted, black stays; of any size" }, "Upload", file)),
    edge && element("details", { class: "nw-more", open: edgeNow.grow !== 0 || edgeNow.feather !== 0 },
      element("summary", {}, "Edge of the mask"), edgeField("grow", GROW), edgeField("feather", FEATHER)));
}

/**
 * A mask in the size of its image, where it has its shape: then it belongs to it, and goes where it goes. Else as it is.
 * @param {Blob} mask
 * @param {string} image hash, or ""
 * @returns {Promise<Blob>}
 */
async function asLargeAsImage(mask, image) {
  const wanted = image ? await sizeOf(image) : null;
  const given = await createImageBitmap(mask).catch(() => null); // what is none, the server says
  if (!wanted || !given || isOtherShape(given, wanted) || given.width === wanted.width) return mask;
  const canvas = element("canvas", { ...wanted }), pixels = contextOf(canvas);
  pixels.drawImage(given, 0, 0, wanted.width, wanted.height);
  /** @type {Blob | null} */
  const resized = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return resized ?? mask;
}

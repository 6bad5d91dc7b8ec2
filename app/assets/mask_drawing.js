// @ts-check
/** A mask drawn with a brush, by pointer or by keys. */
import { actButton, element } from "./element.js";
import { fraction, percentOf } from "./geometry.js";
import { ARROWS, placeOn, sheet, sheetSize } from "./sheet.js";
import { fittedAddress, upload } from "./uploads.js";

/** @import { Backdrop } from "./sheet.js" */
/** @import { Place } from "./geometry.js" */

const FINE = 256; // pixels: strokes are drawn on a canvas at least this long, finer than a small image is
const SHADE = 0.62; // opacity of what is painted
const SMALLEST_BRUSH = 2;

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
 * @param {(sha: string) => void} mask.change
 */
export function maskDrawing({ field, label, value, backdrop, change }) {
  const { width, height } = sheetSize();
  const finer = Math.max(1, FINE / Math.max(width, height));
  const W = Math.round(width * finer), H = Math.round(height * finer), largest = Math.round(W / 4);
  const drawn = element("canvas", { width: W, height: H }); // white on black: what the method gets
  const shown = element("canvas", {
    width: W, height: H, tabindex: 0, role: "application", class: "nw-brush",
    "aria-label": `${label}: paint with the pointer, or move with the arrow keys and paint with the space bar; E erases`,
  });
  const ink = contextOf(drawn), view = contextOf(shown);
  let radius = Math.round(W / 14), erase = false, byKeys = false;
  let at = { x: 0.5, y: 0.5 }; // of the brush that keys move
  /** @type {Place | null} */
  let last = null; // of the pointer while it paints

  const fillAll = (/** @type {"black" | "white"} */ colour) => { ink.fillStyle = colour; ink.fillRect(0, 0, W, H); };
  const refresh = () => {
    const colour = getComputedStyle(shown).color;
    view.globalCompositeOperation = "copy";
    view.drawImage(drawn, 0, 0);
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
    if (!isSome) { change(""); return; }
    const small = element("canvas", { width, height });
    contextOf(small).drawImage(drawn, 0, 0, width, height);
    /** @type {Blob | null} */
    const blob = await new Promise((resolve) => small.toBlob(resolve, "image/png"));
    const sha = blob && await upload(blob, field);
    if (sha) change(sha);
  };

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
  shown.addEventListener("blur", () => { byKeys = false; refresh(); });

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
  const clear = () => { fillAll("black"); refresh(); change(""); };
  if (value) void showValue();

  /** The mask that there is, as the run will get it. */
  async function showValue() {
    const mask = await loaded(fittedAddress(value, { fit: backdrop.fit, width: W, height: H, under: backdrop.sha }));
    if (!mask) return;
    ink.drawImage(mask, 0, 0);
    refresh();
  }
  return element("div", { class: "nw-drawing" }, sheet(backdrop, shown),
    element("div", { class: "nw-tools" }, element("label", { class: "nw-brush-size" }, "Brush", size), eraser,
      actButton("Invert", invert), actButton("Clear", clear)));
}

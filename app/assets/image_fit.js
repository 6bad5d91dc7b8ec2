// @ts-check
/** How an image of any size gets to the size of the result, in words. Nothing here touches the document. */

/** @typedef {{ width: number, height: number }} Size */

/** By what a recipe calls it, what A1111 calls it. */
export const FITS = /** @type {Record<string, string>} */ ({ crop: "Crop and resize", stretch: "Just resize", pad: "Resize and fill" });
export const USUAL_FIT = "crop";

/**
 * Whether an image has to be cropped, stretched or filled up: by a pixel of the result or more.
 * @param {Size} image
 * @param {Size} frame
 */
export function isOtherShape(image, frame) {
  const scale = Math.min(frame.width / image.width, frame.height / image.height);
  return frame.width - image.width * scale >= 1 || frame.height - image.height * scale >= 1;
}

/** @param {Size} size */
const pixels = ({ width, height }) => `${width} × ${height}`;

/**
 * What becomes of an image, in a sentence.
 * @param {Size} image
 * @param {Size} frame of the result
 * @param {string} fit a key of FITS
 */
export function fitWords(image, frame, fit) {
  const from = `${pixels(image)} pixels`;
  if (!isOtherShape(image, frame)) return image.width === frame.width ? `${from}, as the result.` : `${from}, resized to ${pixels(frame)}.`;
  const across = frame.width / image.width, down = frame.height / image.height, isWide = across < down;
  if (fit === "stretch") {
    return `${from}, stretched to ${pixels(frame)}: ${(Math.max(across, down) / Math.min(across, down)).toFixed(2)} times as ${isWide ? "high" : "wide"}.`;
  }
  const part = Math.max(1, Math.round(100 * (1 - Math.min(across, down) / Math.max(across, down))));
  if (fit === "pad") return `${from}, whole: ${part} % of ${pixels(frame)}, ${isWide ? "above and below" : "left and right"}, is filled with its edges.`;
  return `${from}: ${part} % of it, ${isWide ? "left and right" : "above and below"}, is cut off for ${pixels(frame)}.`;
}

// @ts-check
/**
 * What is typed into a number field is what is meant: a decimal comma is a point, and a number out of range, or none,
 * stays as it was typed, so that it can be said at the field. Gradio's slider would move it into range without a word.
 */
import { withPoint } from "./format.js";
import { isOutside } from "./geometry.js";

/** @param {EventTarget | null} target */
const numberField = (target) => target instanceof HTMLInputElement && target.type === "number" ? target : null;

/** @param {string} text */
const insert = (text) => document.execCommand("insertText", false, text); // the one way to type into a number field

document.addEventListener("keydown", (event) => { // browsers drop a comma that their language does not write
  if (event.key !== "," || event.ctrlKey || event.metaKey || !numberField(event.target)) return;
  event.preventDefault();
  insert(".");
}, true);
document.addEventListener("paste", (event) => {
  const text = numberField(event.target) && withPoint(event.clipboardData?.getData("text"));
  if (!text) return;
  event.preventDefault();
  insert(text);
}, true);
document.addEventListener("blur", (event) => {
  const field = numberField(event.target);
  if (field && isOutside(field)) event.stopImmediatePropagation();
}, true);

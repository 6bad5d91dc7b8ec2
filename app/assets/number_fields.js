// @ts-check
/**
 * What is typed into a number field is what is meant: a decimal comma is a point, and a number out of range, or none,
 * stays as it was typed, so that it can be said at the field. Gradio's slider would move it into range without a word.
 */

/** @param {EventTarget | null} target */
const numberField = (target) => target instanceof HTMLInputElement && target.type === "number" ? target : null;

/**
 * The text with a point where a decimal comma stands; null where it has none.
 * @param {string | null | undefined} text
 */
export function withPoint(text) {
  const plain = text?.trim() ?? "";
  return /^-?\d*,\d*$/.test(plain) ? plain.replace(",", ".") : null;
}

/**
 * Whether a slider's field holds what its slider cannot.
 * @param {{ value: string, min: string, max: string }} field
 */
export function isOutside({ value, min, max }) {
  if (value === "") return true;
  return (min !== "" && Number(value) < Number(min)) || (max !== "" && Number(value) > Number(max));
}

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

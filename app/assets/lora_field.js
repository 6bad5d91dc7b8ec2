// @ts-check
/** The field of LoRA files: a text that names them, and those of the folder as buttons that write themselves into it. */
import { actButton, element } from "./element.js";
import { announce, page } from "./page_state.js";

/**
 * The tags of a text, <lora:name:weight>.
 * @param {string} text
 * @returns {{ tag: string, name: string }[]}
 */
export function tagsOf(text) {
  return [...text.matchAll(/<\s*(?:lora|lyco)\s*:([^<>:]*)[^<>]*>/g)].map(([tag, name]) => ({ tag, name: name.trim() }));
}

/**
 * The text with this file in it, at weight 1; without it where it was there.
 * @param {string} text
 * @param {string} name
 */
export function toggled(text, name) {
  const there = tagsOf(text).filter((one) => one.name === name);
  const without = there.reduce((left, { tag }) => left.replace(tag, ""), text).replace(/[ ]{2,}/g, " ").trim();
  return there.length ? without : [without, `<lora:${name}:1>`].filter(Boolean).join(" ");
}

/**
 * Sends a file to the server.
 * @param {File} file
 * @param {(part: number) => void} progress 0 to 1
 * @returns {Promise<{ name?: string, error?: string }>} error: in words, where it was not taken
 */
function send(file, progress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest(); // fetch does not say how far it is
    request.open("POST", `loras?name=${encodeURIComponent(file.name)}&visit_token=${encodeURIComponent(page.visit_token)}`);
    request.setRequestHeader("X-Nine-Ways", "1");
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / Math.max(total, 1));
    request.onload = () => { try { resolve(JSON.parse(request.responseText)); } catch { resolve({ error: "The app gave no answer to the file." }); } };
    request.onerror = () => resolve({ error: "The file did not reach the app. Is it still running?" });
    request.send(file);
  });
}

/**
 * A button that takes a file of this machine to the server.
 * @param {string} id of the field
 * @param {(name: string) => void} take
 */
function uploadButton(id, take) {
  const button = actButton("Upload a file", () => chosen.click(), { "data-keep": `${id}.upload` });
  const chosen = element("input", { type: "file", accept: ".safetensors", hidden: true, "aria-label": "LoRA file", onchange: async () => {
    const file = chosen.files?.[0];
    if (!file) return;
    button.disabled = true;
    const { name, error } = await send(file, (part) => { button.textContent = `Uploading, ${Math.round(100 * part)} %`; });
    button.disabled = false;
    button.textContent = "Upload a file";
    chosen.value = "";
    if (name) take(name); else announce("trouble", { field: id, words: error ?? "" });
  } });
  return element("div", { class: "nw-tools" }, button, chosen);
}

/**
 * @param {object} field
 * @param {string} field.id
 * @param {string} field.label
 * @param {string} field.value
 * @param {(value: string, again?: boolean) => void} field.change
 */
export function loraField({ id, label, value, change }) {
  const box = element("textarea", { rows: 2, class: "nw-mono", spellcheck: "false", "aria-label": label,
    placeholder: "<lora:name:0.8>", "data-keep": id, onchange: () => change(box.value, true) }, value);
  const used = new Set(tagsOf(value).map(({ name }) => name)), files = page.loras ?? [];
  const buttons = files.map(({ name, size }) => element("li", {}, element("button", {
    type: "button", class: "nw-say", "aria-pressed": String(used.has(name)), "data-keep": `${id}.${name}`,
    title: used.has(name) ? `Take ${name} out` : `Add ${name}`, onclick: () => change(toggled(box.value, name), true),
  }, `${name} `, element("span", { class: "nw-quiet" }, size))));
  const none = "There are no files yet. They belong into the folder loras, or that of NINE_WAYS_LORAS.";
  const list = files.length ? element("ul", { class: "nw-files", "aria-label": "Files that are here" }, ...buttons) : page.loras && element("p", { class: "nw-quiet" }, none);
  return element("div", { class: "nw-loras" }, box, list,
    page.takes_loras && uploadButton(id, (name) => change(toggled(box.value, name), true)));
}

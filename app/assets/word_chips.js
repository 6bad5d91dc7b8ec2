// @ts-check
/** Words under the prompt that write themselves into it, where its caret is. */
import { around, find } from "./element.js";

/** @import { Component } from "./gradio.js" */

/**
 * What is typed where text[from..to] was: the word, with a space on each side that lacks one.
 * @param {string} text
 * @param {number} from
 * @param {number} to
 * @param {string} word
 */
export function spaced(text, from, to, word) {
  const before = from > 0 && !/\s/.test(text[from - 1]) ? " " : "";
  const after = to < text.length && !/[\s,.;]/.test(text[to]) ? " " : "";
  return before + word + after;
}

/** @param {Component} component */
export function mount({ element }) {
  element.addEventListener("click", (event) => {
    const word = around(event, "[data-word]")?.dataset.word;
    const prompt = /** @type {HTMLTextAreaElement | null} */ (find("#prompt textarea"));
    if (!word || !prompt) return;
    const { value, selectionStart, selectionEnd } = prompt;
    prompt.focus();
    prompt.setSelectionRange(selectionStart, selectionEnd);
    // as if it were typed, so that Ctrl+Z takes it back: nothing else in a browser does that
    document.execCommand("insertText", false, spaced(value, selectionStart, selectionEnd, word));
  });
}

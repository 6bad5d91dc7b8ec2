// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { mountStage } from "../../app/assets/server_buttons.js";

/**
 * A stage, of which the upper edge is so many pixels below that of the window; what its buttons do; what it draws.
 * @param {number} top
 */
function stage(top) {
  /** A button in it, of this class. */
  class Button {
    constructor(/** @type {string} */ name) { this.name = name; this.dataset = { act: "attempt" }; }

    closest() { return this; }

    matches(/** @type {string} */ selector) { return selector === `.${this.name}`; }
  }
  Object.assign(globalThis, { Element: Button });
  const seen = { scrolled: 0, done: false };
  /** @type {((event: object) => void) | null} */
  let click = null;
  /** @type {(() => void) | null} */
  let changed = null;
  const element = {
    getBoundingClientRect: () => ({ top }),
    scrollIntoView: () => { seen.scrolled += 1; },
    querySelector: () => (seen.done ? {} : null),
    addEventListener: (/** @type {string} */ _name, /** @type {(event: object) => void} */ handle) => { click = handle; },
  };
  mountStage({
    element: /** @type {any} */ (element), props: { value: "" }, trigger: () => {}, watch: (_name, handle) => { changed = handle; },
  });
  const press = (/** @type {string} */ name) => click?.({ target: new Button(name) });
  /** @param {boolean} done whether what is drawn is an image */
  const draw = async (done) => {
    seen.done = done;
    changed?.();
    await new Promise((resolve) => { setTimeout(resolve); });
  };
  return { press, draw, scrolled: () => seen.scrolled };
}

test("the image of a tile comes into view while it is made, and is then left where a person scrolls to", async () => {
  const { press, draw, scrolled } = stage(-700);
  press("nw-tile");
  await draw(false);
  assert.equal(scrolled(), 1, "tiles are a long way down a phone: the run begins above them");
  await draw(true);
  assert.equal(scrolled(), 2);
  await draw(true);
  assert.equal(scrolled(), 2, "nobody asked for that one");
});

test("a stage in view stays where it is, and other buttons move nothing", async () => {
  const inView = stage(40);
  inView.press("nw-tile");
  await inView.draw(false);
  assert.equal(inView.scrolled(), 0);
  const other = stage(-700);
  other.press("nw-act");
  await other.draw(true);
  assert.equal(other.scrolled(), 0);
});

// @ts-check
/** Two images in one frame: the one lies over the other up to a line, which is dragged or moved by the keyboard. */
import { around, element } from "./element.js";
import { clamp, placeIn } from "./geometry.js";

const STEP = 2, LARGE = 10; // per cent of the width
const ENDS = /** @type {const} */ (["pointerup", "pointercancel"]);

/**
 * Where a key moves the line to; null where it does not.
 * @param {string} key
 * @param {number} cut per cent
 * @param {boolean} [large]
 */
export function cutAfter(key, cut, large = false) {
  const by = large ? LARGE : STEP;
  const moved = {
    ArrowLeft: cut - by, ArrowDown: cut - by, ArrowRight: cut + by, ArrowUp: cut + by, PageDown: cut - LARGE, PageUp: cut + LARGE,
    Home: 0, End: 100,
  }[key];
  return moved === undefined ? null : clamp(moved, 0, 100);
}

/**
 * Lays an image over what is in the frame, from the left up to the line.
 * @param {HTMLElement} frame positioned
 * @param {Node} over as large as the frame
 * @param {{ left: string, right: string, cut?: number, moved?: (cut: number) => void, free?: () => boolean }} how
 *   left, right: what is on either side; cut: per cent; free: whether a drag beside the line takes it along
 */
export function divide(frame, over, { left, right, cut = 50, moved = () => {}, free = () => true }) {
  const line = element("div", {
    class: "nw-divider", role: "slider", tabindex: 0, "aria-orientation": "horizontal", "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-label": `How much is shown of ${left}, from the left`,
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const to = event.ctrlKey || event.metaKey || event.altKey ? null : cutAfter(event.key, cut, event.shiftKey);
      if (to === null) return;
      event.preventDefault();
      place(to);
    },
  });
  /** @param {number} to */
  function place(to) {
    cut = to;
    frame.style.setProperty("--cut", `${cut}%`);
    line.setAttribute("aria-valuenow", String(Math.round(cut)));
    line.setAttribute("aria-valuetext", `${Math.round(cut)} % ${left}, the rest ${right}`);
    moved(cut);
  }
  frame.append(element("div", { class: "nw-over" }, over),
    element("span", { class: "nw-corner", "aria-hidden": "true" }, left),
    element("span", { class: "nw-corner", "data-right": true, "aria-hidden": "true" }, right), line);
  frame.addEventListener("pointerdown", (event) => {
    const onLine = around(event, ".nw-divider") === line;
    if (event.button !== 0 || (!onLine && !free())) return;
    event.preventDefault(); // no image is dragged away
    line.focus({ preventScroll: true });
    frame.setPointerCapture(event.pointerId);
    const jump = (/** @type {PointerEvent} */ now) => place(100 * placeIn(now, frame.getBoundingClientRect()).x);
    let on = onLine || event.pointerType !== "touch"; // a finger may be about to scroll the page
    const follow = (/** @type {PointerEvent} */ now) => {
      on ||= Math.abs(now.clientX - event.clientX) > Math.abs(now.clientY - event.clientY);
      if (on) jump(now);
    };
    if (on && !onLine) jump(event);
    frame.addEventListener("pointermove", follow);
    const end = (/** @type {PointerEvent} */ now) => {
      if (now.type === "pointerup" && !on) jump(now); // a tap
      for (const name of ENDS) frame.removeEventListener(name, end);
      frame.removeEventListener("pointermove", follow);
    };
    for (const name of ENDS) frame.addEventListener(name, end);
  });
  place(cut);
}

// @ts-check
/** Buttons that the server drew: a click on one triggers an event of the component that they are in. */
import { around } from "./element.js";
import { afterDrawing } from "./gradio.js";

/** @import { Component } from "./gradio.js" */

const STAGE_EVENTS = [
  "use", "example", "attempt", "open", "remove", "favourite", "attention", "follow", "reset", "take_out", "aspect",
];

/**
 * On a stage: data-act="x" triggers the event x with the button's data.
 * @param {Component} component
 */
export function mountStage(component) {
  const { element, trigger } = component;
  let asked = false; // by a tile, for an image that takes the place of the tiles
  afterDrawing(component, () => {
    if (asked && element.getBoundingClientRect().top < 0) element.scrollIntoView({ block: "start" });
    asked = asked && element.querySelector(".nw-stage[data-state=done]") === null;
  });
  element.addEventListener("click", (event) => {
    const button = around(event, "[data-act]"), name = button?.dataset.act;
    if (!button || !name || !STAGE_EVENTS.includes(name)) return;
    asked = button.matches(".nw-tile");
    if (asked) button.dataset.busy = "yes"; // until the run is on the stage
    trigger(name, { ...button.dataset });
  });
}

/**
 * In a list of what one click begins: data-ready="x" triggers the event `ready` with the key x.
 * @param {Component} component
 */
export function mountReadyList({ element, trigger }) {
  element.addEventListener("click", (event) => {
    const button = around(event, "[data-ready]");
    if (button) trigger("ready", { key: button.dataset.ready });
  });
}

/**
 * In the list of columns: data-column="edit" triggers the event `act` with the button's data.
 * @param {Component} component
 */
export function mountColumns({ element, trigger }) {
  element.addEventListener("click", (event) => {
    const button = around(event, "[data-column]");
    if (button) trigger("act", { ...button.dataset });
  });
}

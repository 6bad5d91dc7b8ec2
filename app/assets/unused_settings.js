// @ts-check
/** Settings that the run will not use: each says so under its field, before the run. */
import { element, findAll } from "./element.js";
import { listen } from "./page_state.js";

listen("unused", (unused) => {
  findAll(".nw-unused").forEach((note) => note.remove());
  for (const [field, words] of Object.entries(unused)) {
    document.getElementById(field)?.append(element("p", { class: "nw-note nw-unused", role: "note" }, words));
  }
});

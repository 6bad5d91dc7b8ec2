// @ts-check
/** Settings that the run will not use: each says so under its field, before the run, and a closed drawer for those in it. */
import { element, findAll } from "./element.js";
import { listen } from "./page_state.js";

listen("unused", (unused) => {
  findAll(".nw-unused").forEach((note) => note.remove());
  /** @type {Map<Element, string[]>} drawer -> what the fields in it are called */
  const within = new Map();
  for (const [id, words] of Object.entries(unused)) {
    const field = document.getElementById(id), drawer = field?.closest(".nw-drawer");
    field?.append(element("p", { class: "nw-note nw-unused", role: "note" }, words));
    if (drawer) within.set(drawer, [...within.get(drawer) ?? [], words.split(":")[0]]);
  }
  for (const [drawer, names] of within) {
    drawer.append(element("p", { class: "nw-note nw-unused nw-within", role: "note" }, `Not used: ${names.join(", ")}.`));
  }
});

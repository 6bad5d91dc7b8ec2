// Taxonomy: which panel is shown, which entries of it, and the way from an entry to the method that runs it.
(() => {
  const nw = window.nineWays;
  let chosen = "", panels = null, send = () => {};  // chosen: "" for all nine, a family, or task:<task>
  const root = () => document.querySelector("#taxonomy");
  const panel = (key) => panels?.querySelector(`.nw-t-panel[data-panel="${key}"]`);

  const dress = () => {
    const does = panel(chosen)?.dataset.does?.split(" ");
    root().querySelectorAll("[data-family]").forEach((one) => {
      const key = one.dataset.family;
      one.setAttribute("aria-pressed", String(key === chosen));
      if (!one.closest("#taxonomy-tree")) return;
      one.toggleAttribute("data-out", Boolean(does) && !does.includes(key));
      one.toggleAttribute("data-in", Boolean(does?.includes(key)));
    });
    const task = root().querySelector("#taxonomy-task");
    if (task) task.value = chosen.startsWith("task:") ? chosen : "";
  };
  const show = (key, look = true) => {
    chosen = key;
    const found = panel(key);
    panels.querySelectorAll(".nw-t-panel").forEach((one) => { one.hidden = one !== (found ?? panel("")); });
    const wait = panels.querySelector(".nw-t-waiting");
    if (wait) wait.hidden = Boolean(found);
    dress();
    if (!look || !found) return;
    const head = found.querySelector("h2"), box = head.getBoundingClientRect();
    if (box.top < 0 || box.bottom > innerHeight * 0.7) {  // stacked under the tree, or scrolled away
      head.focus({ preventScroll: true });
      head.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
  };
  const open = (name) => {  // the row of a method, wherever it stands
    const row = panels.querySelector(`[data-way="${name}"]`);
    if (!row) return;
    show(row.closest(".nw-t-panel").dataset.panel, false);
    row.open = true;
    row.querySelector("summary").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const sift = (entries) => {
    const words = entries.querySelector("input[type=search]").value.trim().toLowerCase().split(/\s+/);
    const status = entries.querySelector("[data-show][aria-pressed=true]").dataset.show;
    const all = [...entries.querySelectorAll(".nw-t-entry")];
    all.forEach((one) => {
      one.hidden = Boolean(status && one.dataset.status !== status) || !words.every((word) => one.dataset.words.includes(word));
    });
    entries.querySelectorAll(".nw-t-group").forEach((group) => { group.hidden = !group.querySelector(".nw-t-entry:not([hidden])"); });
    const seen = all.filter((one) => !one.hidden).length;
    entries.querySelector(".nw-t-found").textContent = seen === all.length ? `${all.length} entries` : `${seen} of ${all.length} entries`;
  };

  const act = (event) => {
    const on = (selector) => event.target.closest(`#taxonomy ${selector}`);
    let hit;
    if ((hit = on("[data-family]"))) show(hit.dataset.family);
    else if ((hit = on("[data-panel-of]"))) show(hit.dataset.panelOf);
    else if ((hit = on("[data-way-of]"))) open(hit.dataset.wayOf);
    else if ((hit = on("[data-try]"))) send("attempt", { name: hit.dataset.try, alone: true });
    else if ((hit = on("[data-network]"))) send("attempt", { network: hit.dataset.network });
    else if ((hit = on("[data-show]"))) {
      hit.parentElement.querySelectorAll("[data-show]").forEach((one) => one.setAttribute("aria-pressed", String(one === hit)));
      sift(hit.closest(".nw-t-entries"));
    }
  };
  document.addEventListener("click", act);
  document.addEventListener("input", (event) => {
    const entries = event.target.closest?.(".nw-t-entries");
    if (entries) sift(entries);
  });
  document.addEventListener("change", (event) => { if (event.target.id === "taxonomy-task") show(event.target.value); });
  document.addEventListener("keydown", (event) => {
    const family = event.target.closest?.(".nw-t-family");  // SVG has no buttons of its own
    if (!family) return;
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" || event.key === " ") act(event);
    else if (way) {
      const all = [...document.querySelectorAll(".nw-t-family")];
      all[Math.min(Math.max(all.indexOf(family) + way, 0), all.length - 1)].focus();
    } else return;
    event.preventDefault();
  });

  nw.taxonomy = (element, props, watch, trigger) => {
    [panels, send] = [element, trigger];
    watch("value", () => setTimeout(() => { if (root()) show(chosen, false); }, 0));  // the panels have come
  };
})();

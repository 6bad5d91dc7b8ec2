// The picker: the nine families of the survey, then the methods of one, with what each does, needs and costs.
(() => {
  const nw = window.nineWays;
  const { h } = nw;
  let dialog = null, chosen = "", words = "";

  const unfit = (one) => (nw.offers ? one.need_keys.filter((need) => !nw.offers.includes(need)) : []);
  const entry = (one) => {
    const there = nw.has(one.name), lacks = unfit(one);
    const facts = [one.cost, ...one.needs.map((need) => `needs ${need}`)].join(" · ");
    const go = (name, label, act, off) => h("button", { type: "button", class: `nw-act ${name}`, disabled: off, "aria-label": `${label}: ${one.title}`, onclick: act }, label);
    return h("li", { class: "nw-entry", "data-method": one.name },
      h("h4", {}, nw.glyphOf(one.family), one.title, h("span", { class: "nw-quiet" }, one.task)),
      h("p", {}, one.summary),
      h("p", { class: "nw-quiet" }, facts, ". ", h("a", { href: one.link, target: "_blank", rel: "noreferrer" }, `arXiv ${one.paper}`)),
      lacks.length ? h("p", { class: "nw-note nw-warn" }, `Does not run on ${nw.model}. An example brings a model that fits, where there is one.`) : null,
      one.fixed ? h("p", { class: "nw-quiet" }, "Part of every run: set by CFG Scale.") : h("div", { class: "nw-tools" },
        go("nw-add", there ? "In the stack" : "Add", () => { dialog.close(); nw.add(one.name); }, there),
        go("nw-try", "Try an example", () => { dialog.close(); nw.example(one.name, true); }, false)));
  };
  const wanted = (one) => words.split(/\s+/).every((word) => `${one.title} ${one.name} ${one.task} ${one.summary}`.toLowerCase().includes(word));

  const panel = () => {
    const methods = Object.values(nw.book.methods);
    const family = nw.book.families.find((one) => one.key === chosen);
    const listed = words ? methods.filter(wanted) : methods.filter((one) => one.family === chosen);
    return h("section", { id: "picker-panel", role: "tabpanel", "aria-labelledby": words ? null : `picker-${chosen}`, "aria-label": words ? "Found" : null },
      words ? h("p", { class: "nw-quiet" }, `${listed.length} of ${methods.length} methods`) : h("p", { class: "nw-quiet nw-family-words" }, family.summary),
      h("ul", {}, ...listed.map(entry)));
  };
  const tab = (one) => {
    const on = !words && one.key === chosen, count = one.methods.length;
    return h("button", {
      type: "button", role: "tab", id: `picker-${one.key}`, "aria-selected": String(on), "aria-controls": "picker-panel", tabindex: on || (words && one.key === chosen) ? "0" : "-1",
      class: "nw-family", disabled: !count, onclick: () => choose(one.key),
    }, nw.glyphOf(one.key), h("span", {}, one.name), h("span", { class: "nw-mono nw-quiet" }, count ? String(count) : "coming"));
  };
  const choose = (key) => { chosen = key; words = ""; dialog.querySelector("input").value = ""; draw(); dialog.querySelector(`#picker-${key}`)?.focus(); };
  const draw = () => {  // also while it is open, when the stack changes: the focus stays where it was
    const at = dialog.contains(document.activeElement) ? document.activeElement : null;
    const family = at?.closest("[role=tab]")?.id, method = at?.closest("[data-method]")?.dataset.method;
    const tabs = h("div", { class: "nw-families", role: "tablist", "aria-orientation": "vertical", "aria-label": "Families of methods" });
    for (const group of [...new Set(nw.book.families.map((one) => one.group))]) {
      tabs.append(h("h3", { role: "presentation" }, group), ...nw.book.families.filter((one) => one.group === group).map(tab));
    }
    dialog.querySelector(".nw-picker-body").replaceChildren(tabs, panel());
    if (family) dialog.querySelector(`#${family}`)?.focus();
    if (method) dialog.querySelector(`[data-method="${method}"] button`)?.focus();
  };

  nw.pick = () => {
    if (!nw.book) return;
    if (!dialog) {
      chosen = nw.book.families.find((one) => one.methods.length)?.key ?? nw.book.families[0].key;
      dialog = h("dialog", { class: "nw-picker", "aria-label": "Add a method" },
        h("div", { class: "nw-picker-head" }, h("h2", {}, "Add a method"),
          h("input", {
            type: "search", placeholder: "Search", "aria-label": "Search methods",
            oninput: (event) => { words = event.target.value.trim().toLowerCase(); draw(); },
          }),
          h("button", { type: "button", class: "nw-act", onclick: () => dialog.close() }, "Close")),
        h("div", { class: "nw-picker-body" }));
      dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
      dialog.addEventListener("keydown", (event) => {
        const way = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!way || !event.target.matches("[role=tab]")) return;
        event.preventDefault(); event.stopPropagation();
        const there = nw.book.families.filter((one) => one.methods.length).map((one) => one.key);
        choose(there[(there.indexOf(chosen) + way + there.length) % there.length]);
      });
      (document.querySelector(".gradio-container") ?? document.body).append(dialog);
    }
    draw();
    dialog.showModal();
    dialog.querySelector(`#picker-${chosen}`)?.focus();
  };
  nw.pickerChanged = () => { if (dialog?.open) draw(); };
})();

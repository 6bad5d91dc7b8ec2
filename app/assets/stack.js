// The stack of methods: its cards, and one JSON text of them that goes to the server and comes back from it.
(() => {
  const nw = window.nineWays;
  const { h } = nw;
  let cards = [], root = null, send = () => {}, trigger = () => {}, found = { problems: {}, notes: {} };
  let pending = null;  // a text that came before the catalogue

  const key = (card) => nw.book.methods[card.name]?.order ?? [99, 0];
  const before = (a, b) => key(a)[0] - key(b)[0] || key(a)[1] - key(b)[1];
  const text = () => JSON.stringify({
    cards: cards.map(({ name, knobs, inputs, muted, solo }) => ({ name, knobs, inputs, muted, solo })),
  });
  const push = () => send(text());
  const has = (name) => cards.some((card) => card.name === name);

  const adopt = (given) => {
    if (!nw.book) { pending = given; return; }
    let read = [];
    try { read = JSON.parse(given || "{}").cards ?? []; } catch { read = []; }
    const open = new Map(cards.map((card) => [card.name, card.open]));
    cards = read.map((card) => ({ knobs: {}, inputs: {}, muted: false, solo: false, ...card, open: open.get(card.name) ?? true }));
    const sorted = [...cards].sort(before);
    const moved = sorted.some((card, i) => card !== cards[i]);
    cards = sorted;
    render();
    if (moved) push();
    const drawnFor = shape();
    setTimeout(() => { if (shape() !== drawnFor) render(); }, 300);  // the size may come a moment later
  };
  const shape = () => ["width", "height"].map((id) => document.querySelector(`#${id} input`)?.value).join();

  const add = (name) => {
    if (has(name)) return;
    cards.forEach((card) => { card.open = false; });
    cards.push({ name, knobs: {}, inputs: {}, muted: false, solo: false, open: true });
    cards.sort(before);
    render(); push();
    document.getElementById(`methods.${cards.findIndex((card) => card.name === name)}`)?.querySelector("button")?.focus();
  };

  const ACTS = {
    mute: (card) => { card.muted = !card.muted; },
    solo: (card) => { card.solo = !card.solo; },
    remove: (card, i) => { cards.splice(i, 1); },
    up: (card, i) => { cards.splice(i - 1, 2, card, cards[i - 1]); },
    down: (card, i) => { cards.splice(i, 2, cards[i + 1], card); },
  };
  const act = (what, i) => {
    if (!cards[i]) return;
    if (what === "show") { show(i); return; }
    ACTS[what](cards[i], i);
    render(); push();
  };
  const show = (i) => {
    cards[i].open = true; render();
    const card = document.getElementById(`methods.${i}`);
    card?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    card?.querySelector("button")?.focus({ preventScroll: true });
  };
  const silent = (card) => card.muted || (!card.solo && cards.some((other) => other.solo));

  // the picture that a mask or boxes are drawn over: the first one that the card holds
  const backdrop = (card) => {
    for (const one of nw.book.methods[card.name].inputs) {
      const given = card.inputs[one.name];
      if ((one.kind === "image" || one.kind === "map") && given) return given;
      if (one.kind === "operator" && given?.picture) return given.picture;
    }
    return null;
  };
  const tool = (what, i, letter, label, extra = {}) => h("button", {
    type: "button", class: "nw-letter", "data-card": what, "data-place": i, "data-keep": `${what}.${i}`, title: label, "aria-label": `${label}: ${nw.book.methods[cards[i].name].title}`, ...extra,
  }, letter);

  const view = (card, i) => {
    const one = nw.book.methods[card.name];
    const id = `methods.${i}`;
    if (!one) {
      return h("li", { class: "nw-method", id }, h("div", { class: "nw-method-head" }, h("b", {}, card.name),
        h("button", { type: "button", class: "nw-letter", "data-card": "remove", "data-place": i, "aria-label": `Take ${card.name} out` }, "×")));
    }
    const set = (part, name) => (value, again) => {
      const empty = value === "" || value === null || (Array.isArray(value) && !value.length);
      if (part === "inputs" && empty) delete card[part][name]; else card[part][name] = value;
      if (again) render();
      const field = document.getElementById(`${id}.${part}.${name}`);
      if (field && part === "inputs") field.dataset.empty = String(empty);
      push();
    };
    const equal = (j) => cards[j] && before(cards[j], card) === 0;
    const free = equal(i - 1) || equal(i + 1);
    const head = h("div", { class: "nw-method-head" },
      h("button", {
        type: "button", class: "nw-fold", "aria-expanded": String(card.open), "data-keep": `fold.${i}`,
        onclick: () => { card.open = !card.open; render(); },
      }, glyph(one.family), h("b", {}, one.title)),
      free ? tool("up", i, "↑", "Earlier", { disabled: !equal(i - 1) }) : null,
      free ? tool("down", i, "↓", "Later", { disabled: !equal(i + 1) }) : null,
      tool("mute", i, "M", "Mute", { "aria-pressed": String(card.muted) }),
      tool("solo", i, "S", "Solo", { "aria-pressed": String(card.solo) }),
      tool("remove", i, "×", "Take out"));
    const knobs = one.knobs.map((knob) => nw.field.knob(`${id}.knobs.${knob.name}`, knob, card.knobs[knob.name], set("knobs", knob.name)));
    const few = one.knobs.length > 4 ? 3 : knobs.length;
    const rest = knobs.slice(few);
    const body = card.open ? h("div", { class: "nw-method-body" },
      h("p", { class: "nw-quiet" }, `${one.summary} `, h("a", { href: one.link, target: "_blank", rel: "noreferrer" }, `arXiv ${one.paper}`)),
      h("div", { class: "nw-tools" }, h("button", {
        type: "button", class: "nw-act", "data-keep": `example.${i}`, onclick: () => trigger("example", { name: card.name, alone: false }),
      }, "Fill with an example")),
      ...one.inputs.map((input) => nw.field.input(`${id}.inputs.${input.name}`, input, card.inputs[input.name], set("inputs", input.name), backdrop(card), card.name, card.knobs)),
      ...knobs.slice(0, few),
      rest.length ? h("details", { class: "nw-more", open: card.more, ontoggle: (event) => { card.more = event.target.open; } },
        h("summary", {}, `${rest.length} more settings`), ...rest) : null,
      h("p", { class: "nw-quiet" }, `${one.cost}.`)) : null;
    return h("li", { class: `nw-method${silent(card) ? " nw-silent" : ""}`, id, style: `--family: var(--nw-${one.family})` }, head, body);
  };
  const glyph = (family) => {
    const holder = h("span", { class: "nw-glyph-holder" });
    holder.innerHTML = nw.book.families.find((one) => one.key === family).glyph;
    return holder;
  };

  const render = () => {
    if (!root || !nw.book) return;
    const focused = document.activeElement?.dataset?.keep;
    root.querySelector(".nw-cards").replaceChildren(...cards.map(view));
    root.querySelector(".nw-none").hidden = cards.length > 0;
    if (focused) root.querySelector(`[data-keep="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    remark();
    nw.pickerChanged?.();
  };

  // ---- what the server says of the stack ------------------------------------------------------------------------------
  const wanting = (id) => {  // an input that was not given yet: said quietly until someone generates
    const [, i, part, name] = id.split(".");
    const value = part === "inputs" ? cards[Number(i)]?.inputs[name] : true;
    if (!value) return true;
    if (Array.isArray(value)) return !value.length || value.some((one) => one.text === "");
    if (typeof value !== "object") return false;
    const parameters = nw.book.operators.find((one) => one.name === value.name)?.parameters ?? [];
    return !value.picture || parameters.some((one) => one.type === "mask" && !value.parameters[one.name]);
  };
  const remark = (loud = false) => {
    root.querySelectorAll(".nw-mark").forEach((mark) => mark.remove());
    root.querySelectorAll("[aria-invalid]").forEach((one) => one.removeAttribute("aria-invalid"));
    let first = null;
    const put = (id, words, kind) => {
      const field = id === "methods" ? root : document.getElementById(id) ?? document.getElementById(id.split(".").slice(0, 2).join("."));
      if (!field) return;
      const missing = kind === "problem" && !loud && wanting(id);
      const mark = h("p", { class: `nw-mark ${kind === "note" ? "nw-quiet" : missing ? "nw-note nw-warn" : "nw-problem"}`, role: kind === "note" || missing ? "note" : "alert" }, words);
      const body = field.querySelector(":scope > .nw-method-body");
      if (body) body.prepend(mark); else ((kind === "note" && field.querySelector(".nw-measured figcaption")) || field).append(mark);
      if (kind === "problem" && !missing) {
        const input = field.querySelector("textarea, input:not([type=range]), select, canvas, button");
        input?.setAttribute("aria-invalid", "true");
        first ??= input;
      }
    };
    for (const [id, words] of Object.entries(found.notes ?? {})) put(id, words, "note");
    for (const [id, words] of Object.entries(found.problems ?? {})) put(id, words, "problem");
    if (loud) first?.focus();
  };
  const checked = (given) => {
    try { found = JSON.parse(given || "{}"); } catch { return; }
    nw.offers = found.offers ?? null;
    nw.model = found.model ?? "";
    nw.door = found.door;
    nw.backbone = found.backbone;
    if (root && nw.book) { remark(); nw.field.lookAgain(); }
    nw.pickerChanged?.();
  };
  // problems of a run that was refused: said loudly, in opened cards
  const refuse = (problems) => {
    for (const id of Object.keys(problems)) {
      const card = cards[Number(id.split(".")[1])];
      if (card) card.open = true;
    }
    found = { ...found, problems: { ...found.problems, ...problems } };
    render(); remark(true);
  };
  const mark = (id, words) => { found = { ...found, problems: { ...found.problems, [id]: words } }; remark(true); };

  const mount = async (element, props, watch, fire) => {
    root = element; trigger = fire;
    send = (now) => { props.value = now; };
    watch("value", () => { if (props.value !== text()) adopt(props.value); });
    root.replaceChildren(
      h("div", { class: "nw-methods-head" }, h("h2", {}, "Methods"),
        h("button", { type: "button", class: "nw-act", id: "add-method", "aria-haspopup": "dialog", onclick: () => nw.pick() }, "Add a method")),
      h("p", { class: "nw-none nw-quiet" }, "None yet: the prompt alone decides. Add one to edit, restore or lay out a picture."),
      h("ol", { class: "nw-cards", "aria-label": "Methods in use" }));
    if (!nw.book) {
      try { nw.book = await (await fetch("catalogue.json")).json(); } catch { setTimeout(() => mount(element, props, watch, fire), 2000); return; }
    }
    adopt(pending ?? props.value); pending = null;
  };

  document.addEventListener("click", (event) => {
    const hit = event.target.closest("[data-card]");
    if (hit) { event.preventDefault(); act(hit.dataset.card, Number(hit.dataset.place)); }
  });
  // a mask and boxes are drawn on a sheet of the result's shape
  document.addEventListener("change", (event) => { if (event.target.closest?.("#width, #height")) render(); });

  Object.assign(nw, {
    mount, checked, refuse, mark, has, add, text, glyphOf: glyph,
    example: (name, alone) => trigger(alone ? "attempt" : "example", { name, alone }),
  });
})();

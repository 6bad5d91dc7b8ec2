// The fields of a card: a knob (a number, a curve, a choice) and an input (words, pictures, masks, boxes, degradations).
(() => {
  const nw = window.nineWays;
  const { h, address, drawing } = nw;

  const tidy = (value) => String(Math.round(value * 1e6) / 1e6);
  const fill = (range) => range.style.setProperty("--range_progress", `${(100 * (range.value - range.min)) / (range.max - range.min || 1)}%`);

  // change(value) when it has come to rest, live(value) on the way
  const slider = (knob, value, label, change, live = () => {}) => {
    const range = h("input", {
      type: "range", min: knob.low, max: knob.high, step: knob.step, value, "aria-label": `${label}, slider`, tabindex: "-1",
      oninput: () => { box.value = tidy(Number(range.value)); fill(range); live(Number(range.value)); },
      onchange: () => change(Number(range.value)),
    });
    const box = h("input", {
      type: "number", min: knob.low, max: knob.high, step: "any", value: tidy(value), "aria-label": label,
      onchange: () => { range.value = box.value; fill(range); if (box.value !== "") change(Number(box.value)); },
    });
    fill(range);
    return h("div", { class: "nw-slider" }, range, box);
  };

  // "0:1, 0.4:1, 0.6:0" -> [[0, 1], [0.4, 1], [0.6, 0]], or null
  const points = (text) => {
    const found = text.split(",").map((pair) => pair.split(":").map((part) => (part.trim() === "" ? NaN : Number(part))));
    return found.every((pair) => pair.length === 2 && pair.every(Number.isFinite)) ? found : null;
  };
  const plot = (knob, text) => {
    const found = points(text) ?? [];
    const y = (value) => 44 - (40 * (value - knob.low)) / (knob.high - knob.low || 1);
    const corners = found.map(([at, value]) => [4 + 192 * Math.min(Math.max(at, 0), 1), y(value)]);
    const line = corners.length ? [[4, corners[0][1]], ...corners, [196, corners.at(-1)[1]]] : [];
    const dots = corners.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3"/>`).join("");
    const holder = h("div", { class: "nw-plot", "aria-hidden": "true" });
    holder.innerHTML = `<svg viewBox="0 0 200 48" preserveAspectRatio="none"><path d="M4 44H196M4 4H196"/>`
      + `<polyline points="${line.map((p) => p.join()).join(" ")}"/></svg>`
      + `<svg class="nw-dots" viewBox="0 0 200 48">${dots}</svg>`
      + `<span>${tidy(knob.high)}</span><span>${tidy(knob.low)}</span><span>first step</span><span>last step</span>`;
    return holder;
  };
  const curve = (knob, text, label, change) => {
    const whole = h("div", { class: "nw-curve" });
    const box = h("input", {
      type: "text", value: text, spellcheck: "false", class: "nw-mono", "aria-label": `${label}: part of the steps : value, ...`,
      oninput: () => whole.replaceChild(plot(knob, box.value), whole.lastChild),
      onchange: () => change(box.value),
    });
    whole.append(box, plot(knob, text));
    return whole;
  };

  const knob = (id, one, given, change, live) => {
    const value = given ?? one.default;
    const field = h("div", { class: "nw-field", id });
    const head = h("div", { class: "nw-field-head" }, h("span", {}, one.label));
    if (one.type === "choice") {  // what else a card asks for may depend on it
      field.append(head, h("select", { "aria-label": one.label, "data-keep": id, onchange: (event) => change(event.target.value, true) },
        ...one.options.map((option) => h("option", { value: option, selected: option === value }, option))));
    } else if (one.type === "bool") {
      field.append(h("label", { class: "nw-check" }, h("input", {
        type: "checkbox", checked: Boolean(value), onchange: (event) => change(event.target.checked),
      }), one.label));
    } else {
      const curved = typeof value === "string" && value.includes(":");
      if (one.curve) {
        head.append(h("button", {
          type: "button", class: "nw-link", "aria-pressed": String(curved), "data-keep": `${id}.curve`,
          onclick: () => change(curved ? (points(value)?.[0]?.[1] ?? one.default) : `0:${tidy(value)}, 1:${tidy(value)}`, true),
        }, curved ? "One number" : "Over the steps"));
      }
      field.append(head, curved ? curve(one, value, one.label, change) : slider(one, Number(value), one.label, change, live));
    }
    if (one.help) field.append(h("p", { class: "nw-quiet" }, one.help));
    return field;
  };

  // ---- pictures -----------------------------------------------------------------------------------------------------
  const keep = async (blob, field) => {
    const answer = await fetch(`inputs?door=${encodeURIComponent(nw.door)}`, {
      method: "POST", body: blob, headers: { "Content-Type": blob.type || "application/octet-stream", "X-Nine-Ways": "1" },
    }).then((response) => response.json()).catch(() => ({ error: "The picture did not reach the app. Is it still running?" }));
    if (answer.error) nw.mark(field, answer.error);
    return answer.error ? null : answer;
  };
  const onStage = () => document.querySelector("#stage .nw-picture img")?.src;
  const chooser = (id, label, several, take) => {
    const file = h("input", {
      type: "file", accept: "image/*", multiple: several, class: "nw-hidden", "aria-label": `${label}: upload`,
      onchange: async () => { for (const one of file.files) take(await keep(one, id)); file.value = ""; },
    });
    return h("div", { class: "nw-tools" },
      h("label", { class: "nw-act nw-upload" }, "Upload", file),
      h("button", {
        type: "button", class: "nw-act",
        onclick: async () => {
          const source = onStage();
          if (!source) { nw.mark(id, "There is no picture on the stage yet: generate one first."); return; }
          take(await keep(await (await fetch(source)).blob(), id));
        },
      }, "From the stage"));
  };
  const thumb = (sha, label, drop) => h("div", { class: "nw-given" },
    h("img", { src: address(sha), alt: label, loading: "lazy", onerror: (event) => { event.target.alt = "This picture is not here"; } }),
    h("button", { type: "button", class: "nw-letter", "aria-label": `Take ${label} away`, title: "Take away", onclick: drop }, "×"));

  // where pictures can be dropped, in place of restoring their settings
  const zone = (id, take, ...inside) => h("div", {
    class: "nw-picture-field", "data-own-drop": true,
    ondragover: (event) => event.preventDefault(),
    ondrop: async (event) => { event.preventDefault(); for (const one of event.dataTransfer.files) take(await keep(one, id)); },
  }, ...inside);
  const picture = (id, label, value, change) => zone(id, (kept) => kept && change(kept.sha256, true),
    value ? thumb(value, label, () => change("", true)) : null,
    chooser(id, label, false, (kept) => kept && change(kept.sha256, true)));

  const references = (id, label, value, change) => {
    const all = [...(value || [])];  // of several files each is kept in turn
    const take = (kept) => { if (kept) { all.push(kept.sha256); change([...all], true); } };
    return zone(id, take,
      ...all.map((sha, i) => thumb(sha, `${label} ${i + 1}`, () => change(all.filter((_, j) => j !== i), true))),
      chooser(id, label, true, take));
  };

  // ---- what is measured of a picture, as the run will be given it -----------------------------------------------------
  const answers = new Map();  // question -> answer: a card that is drawn anew asks nothing
  const ask = async (question) => {
    if (!answers.has(question)) {
      const answer = await fetch(`measured?door=${nw.door}`, { method: "POST", body: question, headers: { "X-Nine-Ways": "1" } })
        .then((response) => response.json()).catch(() => ({}));
      if (!answer.picture) return answer;
      if (answers.size > 64) answers.clear();
      answers.set(question, answer);
    }
    return answers.get(question);
  };
  const measured = (method, input, label) => {
    const image = h("img", { alt: `${label}: what is measured of it`, hidden: true }), words = h("span", {});
    const figure = h("figure", { class: "nw-measured" }, image, h("figcaption", { class: "nw-quiet" }, words));
    let wanted = "", shown = "", busy = false;
    figure.look = async (given = figure.given) => {  // of what was asked meanwhile only the newest is looked at
      figure.given = given;
      wanted = given.picture && nw.backbone ? JSON.stringify({ method, input, given, backbone: nw.backbone, ...nw.size() }) : "";
      if (busy) return;
      busy = true;
      while (shown !== wanted) {
        const question = wanted, answer = question ? await ask(question) : {};
        image.hidden = !answer.picture;
        if (answer.picture) image.src = answer.picture;
        words.textContent = answer.words ?? "";
        shown = question;
        if (!answer.picture && question === wanted) break;
      }
      if (image.hidden) shown = "";
      busy = false;
    };
    return figure;
  };
  const lookAgain = () => document.querySelectorAll(".nw-measured").forEach((figure) => figure.look());

  const operator = (id, one, value, change, method) => {
    const { label } = one;
    const book = nw.book.operators;
    let given = value || { picture: "", name: book.find((one) => one.name === "super_resolution")?.name ?? book[0].name, parameters: {}, sigma_y: 0, seed: 0 };
    const known = book.find((one) => one.name === given.name) ?? book[0];
    const seen = measured(method, one.name, label);
    const but = (part, again = false) => { given = { ...given, ...part }; change(given, again); seen.look(given); };
    const parameter = (one) => {
      const now = (value) => ({ parameters: { ...given.parameters, [one.name]: value } });
      const set = (value, again) => but(now(value), again);
      if (one.type !== "mask") return knob(`${id}.${one.name}`, one, given.parameters[one.name], set, (value) => seen.look({ ...given, ...now(value) }));
      return h("div", { class: "nw-field" }, h("div", { class: "nw-field-head" }, h("span", {}, one.label)),
        drawing.mask({ label: one.label, value: given.parameters.mask, picture: given.picture, keep: (blob) => keep(blob, id), change: set }));
    };
    const noise = { name: "sigma_y", label: "Noise of the measurement", type: "float", low: 0, high: 1, step: 0.01, default: 0, help: "sigma_y, where pictures go from -1 to 1" };
    seen.look(given);
    return h("div", { class: "nw-operator" },
      picture(id, label, given.picture, (sha, again) => but({ picture: sha }, again)), seen,
      h("div", { class: "nw-field" }, h("div", { class: "nw-field-head" }, h("span", {}, "What was done to it")),
        h("select", { "aria-label": `${label}: what was done to it`, onchange: (event) => but({ name: event.target.value, parameters: {} }, true) },
          ...book.map((one) => h("option", { value: one.name, selected: one.name === given.name }, one.title)))),
      ...known.parameters.map(parameter),
      knob(`${id}.sigma_y`, noise, given.sigma_y, (now) => but({ sigma_y: now }), (now) => seen.look({ ...given, sigma_y: now })));
  };

  const WORDS = {
    image: "picture", map: "map", mask: "mask", prompt: "prompt", words: "words of the prompt", boxes: "boxes",
    points: "points", references: "pictures", operator: "degraded picture",
  };
  // change(value, again): `again` draws the card anew
  const input = (id, one, given, change, backdrop, method, knobs = {}) => {
    const label = one.label;
    const kind = WORDS[one.kind] ?? one.kind;
    const asking = Object.entries(one.wanted_by), chosen = ([name]) => knobs[name] ?? nw.book.methods[method].knobs.find((k) => k.name === name).default;
    const needed = asking.some((each) => each[1].includes(chosen(each)));
    const when = !one.optional || needed ? "" : asking.length ? `for ${asking.map((each) => each[1].join(", ")).join(", ")}` : "may be left out";
    const empty = !given || (Array.isArray(given) && !given.length) || (one.kind === "operator" && !given.picture);
    const field = h("div", { class: "nw-field", id, role: "group", "aria-label": label, "data-empty": String(empty) }, h("div", { class: "nw-field-head" },
      h("span", {}, label), h("span", { class: "nw-quiet" }, [kind === label.toLowerCase() ? "" : kind, when].filter(Boolean).join(", "))));
    if (one.help) field.append(h("p", { class: "nw-quiet" }, one.help));
    if (one.kind === "prompt" || one.kind === "words") {
      field.append(h("textarea", { rows: one.kind === "prompt" ? 2 : 1, "aria-label": label, onchange: (event) => change(event.target.value) }, given ?? ""));
    } else if (one.kind === "image" || one.kind === "map") field.append(picture(id, label, given, change));
    else if (one.kind === "references") field.append(references(id, label, given, change));
    else if (one.kind === "operator") field.append(operator(id, one, given, change, method));
    else field.append(drawing[one.kind]({ label, value: given, picture: backdrop, keep: (blob) => keep(blob, id), change }));
    return field;
  };

  Object.assign(nw, { field: { knob, input, lookAgain } });
})();

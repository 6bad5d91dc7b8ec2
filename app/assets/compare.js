// The board of the tab Compare: grids of cells that fill as they are made, sorted, ranked, plotted. Two cells under a
// slider are in side.js, which comes after this.
(() => {
  const { el, svg } = window.nineWays;
  let board = null, tell = () => {}, told = null;  // the component, its trigger, the comparison as it stands
  let sorted = "", tab = "", chosen = [];  // the figure that columns are sorted by, the grid in view, cells A and B
  const cells = new Map();  // key -> its elements, one for each place

  const number = (key, value) => {
    const one = told.measures[key];
    return value.toFixed(one.digits) + (one.unit ? ` ${one.unit}` : "");
  };
  const cost = (one) => `${one.seconds.toFixed(1)} s · ${one.calls} calls` + (one.gradients ? ` · ${one.gradients} gradients` : "");
  const label = (cell) => cell.place.map((at, axis) => told.axes[axis].labels[at]).join(" · ");
  const figures = () => Object.keys(told.summary?.measures || {});
  const source = (cell) => told.states[cell.key]?.picture || "";

  // ---- cells ------------------------------------------------------------------------------------------------------
  const fill = (figure, cell) => {
    const state = told.states[cell.key] || { status: "waiting" };
    figure.dataset.status = state.status;
    const image = figure.querySelector("img"), words = figure.querySelector("figcaption");
    if (state.picture && image.getAttribute("src") !== state.picture) image.src = state.picture;
    if (!state.picture) image.removeAttribute("src");
    image.alt = state.status === "done" ? label(cell) : "";
    const bar = figure.querySelector(".nw-bar span");
    bar.parentElement.hidden = state.status !== "running";
    bar.style.width = `${(100 * (state.step || 0)) / Math.max(state.steps || 1, 1)}%`;
    const lines = [];
    if (state.result) {
      const shown = Object.entries(state.result.figures);
      if (sorted && !(sorted in state.result.figures)) lines.push(el("span", {}, ""));
      shown.sort(([a], [b]) => (b === sorted) - (a === sorted));
      for (const [key, value] of shown.slice(0, 3)) {
        lines.push(el("span", { title: told.measures[key].of }, `${told.measures[key].title} `, el("b", { class: "nw-mono" }, number(key, value))));
      }
      lines.push(el("span", { class: "nw-mono nw-cost" }, cost(state.result)));
    } else if (state.reason) lines.push(el("span", { class: "nw-error" }, state.reason));
    else if (state.status === "running") lines.push(el("span", {}, `${state.first ? `${state.first}: ` : "Step "}${state.step || 0} of ${state.steps || "?"}`));
    else lines.push(el("span", {}, state.status === "cancelled" ? "Cancelled" : "Waiting"));
    words.replaceChildren(...lines);
    const side = chosen.indexOf(cell.key);
    figure.dataset.side = side < 0 ? "" : "AB"[side];
    figure.querySelector("button").setAttribute("aria-pressed", String(side >= 0));
  };

  const figure = (cell) => {
    const made = el("figure", { class: "nw-cell" },
      el("button", { type: "button", class: "nw-cell-picture", style: `aspect-ratio:${cell.aspect}`, "aria-pressed": "false", title: "Put it under the slider" },
        el("img", { alt: "", loading: "lazy" }), el("span", { class: "nw-bar", hidden: true }, el("span"))),
      el("figcaption"));
    made.querySelector("button").addEventListener("click", () => choose(cell.key));
    cells.set(cell.key, [...(cells.get(cell.key) || []), [made, cell]]);
    fill(made, cell);
    return made;
  };

  const choose = (key) => {
    if (!told.states[key]?.result) return;
    chosen = chosen.includes(key) ? chosen.filter((one) => one !== key) : [...chosen.slice(-1), key];
    for (const all of cells.values()) for (const [made, cell] of all) fill(made, cell);
    window.nineWays.side?.(board.querySelector(".nw-side"), chosen.map((one) => told.cells.find((c) => c.key === one)), told, {
      label, number, tell, close: () => { chosen = []; choose(""); },
    });
  };

  // ---- grids ------------------------------------------------------------------------------------------------------
  const places = () => [...new Set(told.cells.map((cell) => cell.place.slice(2).join(",")))];
  const columns = () => {
    const all = told.axes[0].labels.map((_, i) => i);
    const ranks = told.summary?.measures[sorted]?.ranks;
    if (!ranks) return all;
    const at = (i) => { const k = ranks.findIndex((one) => one.label === told.axes[0].labels[i]); return k < 0 ? Infinity : k; };
    return all.sort((a, b) => at(a) - at(b) || a - b);
  };

  const grid = () => {
    cells.clear();
    const rows = told.axes[1]?.labels || [""];
    const order = columns();
    const body = el("div", { class: "nw-compared", role: "table", "aria-label": told.title, style: `--columns:${order.length}` });
    const head = el("div", { class: "nw-compared-row nw-heads", role: "row" }, el("span", { role: "columnheader" }));
    for (const i of order) {
      const title = el("h3", { role: "columnheader" });
      title.innerHTML = told.glyphs[i];
      title.append(told.axes[0].labels[i]);
      head.append(title);
    }
    body.append(head);
    rows.forEach((row, j) => {
      const line = el("div", { class: "nw-compared-row", role: "row" }, el("span", { role: "rowheader" }, row));
      for (const i of order) {
        const cell = told.cells.find((one) => one.place[0] === i && (one.place[1] ?? 0) === j && one.place.slice(2).join(",") === tab);
        const holder = el("div", { role: "cell" });
        if (cell) holder.append(figure(cell));
        line.append(holder);
      }
      body.append(line);
    });
    return body;
  };

  // ---- around the grid --------------------------------------------------------------------------------------------
  const heading = () => {
    const given = [["source", "Given"], ["truth", "Truth"]].filter(([name]) => told.given[told[name]]);
    const shown = given.map(([name, words]) => el("figure", { class: "nw-given" }, el("img", { alt: words, src: told.given[told[name]] }), el("figcaption", {}, words)));
    return el("header", { class: "nw-board-head" },
      el("div", {}, el("h2", {}, told.title), el("p", {}, told.prompt), el("p", { class: "nw-status", role: "status" })), ...shown);
  };
  const progress = () => {
    const { count } = told, all = told.cells.length;
    const words = [`${count.done} of ${all} cells`];
    if (count.failed) words.push(`${count.failed} failed`);
    if (told.busy) words.push("being made"); else if (count.done + count.failed < all) words.push("stopped; what is missing can be made");
    return words.join(" · ");
  };
  const tools = () => {
    const choice = el("select", { id: "sort-by", "aria-label": "Sort columns by" }, el("option", { value: "" }, "as given"));
    for (const key of figures()) choice.append(el("option", { value: key }, told.measures[key].title));
    choice.value = sorted;
    choice.addEventListener("change", () => { sorted = choice.value; draw(); });
    const row = el("div", { class: "nw-tools" }, el("label", { for: "sort-by" }, "Sort by"), choice);
    for (const place of places().length > 1 ? places() : []) {
      const words = place.split(",").map((at, i) => told.axes[i + 2].labels[at]).join(" · ");
      const one = el("button", { type: "button", class: "nw-act", "aria-pressed": String(place === tab) }, words);
      one.addEventListener("click", () => { tab = place; draw(); });
      row.append(one);
    }
    const links = el("span", { class: "nw-exports" });
    for (const [kind, words] of [["png", "Picture"], ["html", "Page"], ["csv", "CSV"], ["json", "Comparison file"]]) {
      links.append(el("a", { class: "nw-act", href: told.exports[kind], download: "" }, words));
    }
    row.append(links);
    return row;
  };

  const bars = (key) => {
    const { ranks } = told.summary.measures[key], one = told.measures[key];
    const ends = ranks.flatMap((rank) => [rank.low ?? rank.mean, rank.high ?? rank.mean]);
    let low = Math.min(...ends), high = Math.max(...ends);
    if (one.unit === "%") [low, high] = [0, 100];
    const span = high - low || 1, at = (value) => 4 + (92 * (value - low)) / span;
    const list = el("table", { class: "nw-ranks" }, el("caption", {}, `${one.title}: ${one.better} is better`));
    for (const rank of ranks) {
      const plot = svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
      if (rank.low !== null) plot.append(svg("line", { x1: at(rank.low), x2: at(rank.high), y1: 5, y2: 5, class: "nw-interval" }));
      plot.append(svg("line", { x1: at(rank.mean), x2: at(rank.mean), y1: 1, y2: 9, class: "nw-mean" }));
      const spread = rank.low === null ? "one cell" : `${rank.low.toFixed(one.digits)} to ${rank.high.toFixed(one.digits)}`;
      list.append(el("tr", {}, el("th", { scope: "row" }, rank.label), el("td", {}, plot),
        el("td", { class: "nw-mono" }, number(key, rank.mean)), el("td", { class: "nw-mono nw-quiet" }, spread)));
    }
    if (one.trust) list.append(el("tr", {}, el("td", { colspan: "4", class: "nw-quiet" },
      `On renders this measure gives ${number(key, one.trust.own)} for the very scene and ${number(key, one.trust.other)} for another one.`)));
    return list;
  };

  const scatter = (key, by) => {
    const { ranks, pareto } = told.summary.measures[key], one = told.measures[key], costs = told.summary.cost[by];
    const points = ranks.filter((rank) => costs[rank.label] > 0).map((rank) => [rank.label, costs[rank.label], rank.mean]);
    if (!points.length) return el("div");
    const [W, H, L, B] = [420, 260, 48, 36];
    const logs = points.map(([, x]) => Math.log(x)), values = points.map(([, , y]) => y);
    const range = (all) => { const a = Math.min(...all), b = Math.max(...all), pad = (b - a || 1) * 0.12; return [a - pad, b + pad]; };
    const [x0, x1] = range(logs), [y0, y1] = range(values);
    const px = (x) => L + ((Math.log(x) - x0) / (x1 - x0)) * (W - L - 12), py = (y) => H - B - ((y - y0) / (y1 - y0)) * (H - B - 12);
    const plot = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "nw-scatter", role: "img", "aria-label": `${one.title} against ${by}` });
    plot.append(svg("path", { d: `M${L} 8V${H - B}H${W - 8}`, class: "nw-axis" }));
    for (const y of [Math.min(...values), Math.max(...values)]) plot.append(svg("text", { x: L - 6, y: py(y) + 4, class: "nw-tick", "text-anchor": "end" }, number(key, y)));
    for (const x of new Set([Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))])) {
      plot.append(svg("text", { x: px(x), y: H - B + 16, class: "nw-tick", "text-anchor": "middle" }, by === "seconds" ? `${x.toFixed(1)} s` : `${Math.round(x)}`));
    }
    plot.append(svg("text", { x: W - 8, y: H - 4, class: "nw-tick", "text-anchor": "end" }, by === "seconds" ? "seconds of the engine a cell" : "network calls a cell"));
    const line = pareto[by].map((name) => points.find((p) => p[0] === name)).filter(Boolean);
    plot.append(svg("path", { d: line.map(([, x, y], i) => `${i ? "L" : "M"}${px(x)} ${py(y)}`).join(""), class: "nw-pareto" }));
    const taken = [];
    for (const [name, x, y] of points) {
      const on = pareto[by].includes(name), right = px(x) < W * 0.6;
      let ty = py(y) + 4;
      while (taken.some((other) => Math.abs(other - ty) < 12)) ty += 12;
      taken.push(ty);
      plot.append(svg("circle", { cx: px(x), cy: py(y), r: on ? 5 : 4, class: on ? "nw-dot-on" : "nw-dot-off" }),
        svg("text", { x: px(x) + (right ? 9 : -9), y: ty, class: "nw-tick nw-name", "text-anchor": right ? "start" : "end" }, name));
    }
    return el("figure", {}, plot, el("figcaption", {}, `${one.title} against ${by}; the line joins what nothing beats in both.`));
  };

  const panels = () => {
    const key = sorted || figures()[0];
    if (!key) return [];
    return [el("section", { class: "nw-summary", "aria-label": "Ranks" }, el("h3", {}, "Ranks"), bars(key)),
      el("section", { class: "nw-summary", "aria-label": "Fidelity against cost" }, el("h3", {}, "Fidelity against cost"),
        el("div", { class: "nw-plots" }, scatter(key, "calls"), scatter(key, "seconds")))];
  };

  // ---- blind votes ------------------------------------------------------------------------------------------------
  let pair = null;
  const vote = () => {
    const done = told.cells.filter((cell) => told.states[cell.key]?.result);
    const at = (cell) => cell.place.slice(1).join(",");
    const by = {};
    for (const cell of done) (by[at(cell)] ||= []).push(cell);
    const groups = Object.values(by).filter((all) => new Set(all.map((cell) => cell.place[0])).size > 1);
    const section = el("section", { class: "nw-summary nw-vote", "aria-label": "Blind vote" }, el("h3", {}, "Blind vote"));
    if (!groups.length) { section.append(el("p", {}, "Two columns have to be made first.")); return section; }
    if (!pair) {
      const all = groups[Math.floor(Math.random() * groups.length)];
      const a = all[Math.floor(Math.random() * all.length)];
      const others = all.filter((cell) => cell.place[0] !== a.place[0]);
      pair = [a, others[Math.floor(Math.random() * others.length)]];
    }
    section.append(el("p", {}, `Which is the better picture of “${told.prompt}”? Whose they are is not shown.`));
    const row = el("div", { class: "nw-pairs" });
    pair.forEach((cell, i) => {
      const one = el("button", { type: "button", class: "nw-cell-picture", style: `aspect-ratio:${cell.aspect}`, "aria-label": i ? "The right one" : "The left one" },
        el("img", { alt: "", src: source(cell) }));
      one.addEventListener("click", () => {
        const [better, worse] = [cell, pair[1 - i]].map((c) => told.axes[0].labels[c.place[0]]);
        pair = null; tell("vote", { better, worse });
      });
      row.append(one);
    });
    section.append(row);
    const votes = (count) => `${count} ${count === 1 ? "vote" : "votes"}`;
    const rated = (words, ratings) => {
      const list = el("table", { class: "nw-ranks" }, el("caption", {}, words));
      for (const [name, rating, low, high] of ratings) {
        list.append(el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "nw-mono" }, String(rating)),
          el("td", { class: "nw-mono nw-quiet" }, `${low} to ${high}`)));
      }
      section.append(list);
    };
    if (told.votes?.count) rated(`Ratings after ${votes(told.votes.count)}, with 95 % intervals`, told.votes.ratings);
    const all = told.votes?.all;
    if (all && all.count > told.votes.count) rated(`In all comparisons kept here, after ${votes(all.count)}`, all.ratings);
    return section;
  };

  // ---- all of it --------------------------------------------------------------------------------------------------
  const draw = () => {
    const holder = el("div", { class: "nw-board", "data-state": "open" }, heading(), tools(), el("div", { class: "nw-scroll" }, grid()),
      el("div", { class: "nw-side" }), el("div", { class: "nw-panels" }));
    board.replaceChildren(holder);
    status();
    summaries();
    if (chosen.length) { const kept = chosen; chosen = []; kept.forEach(choose); }
  };
  const status = () => { board.querySelector(".nw-status").textContent = progress(); };
  const summaries = () => board.querySelector(".nw-panels").replaceChildren(...panels(), vote());

  Object.assign(window.nineWays, {
    compare(element, trigger) { board = element; tell = trigger; if (told) draw(); },
    compared(fresh) {
      if (fresh.axes) {
        if (fresh.id !== told?.id) { sorted = ""; chosen = []; pair = null; }
        const other = fresh.id !== told?.id;
        told = fresh; tab = places().includes(tab) ? tab : places()[0];
        if (board) draw();
        if (board && other && innerWidth <= 860) document.querySelector("#compare-result").scrollIntoView({ behavior: "smooth" });
        return;
      }
      if (!told || fresh.id !== told.id) return;
      if (fresh.votes) { told.votes = fresh.votes; summaries(); return; }
      const before = figures().length;
      Object.assign(told.states, fresh.states);
      told.busy = fresh.busy; told.count = fresh.count;
      if (fresh.summary) told.summary = fresh.summary;
      if (!board?.querySelector(".nw-compared")) return;
      for (const key of Object.keys(fresh.states)) for (const [made, cell] of cells.get(key) || []) fill(made, cell);
      status();
      if (fresh.summary || !fresh.busy) summaries();
      if (figures().length !== before) board.querySelector(".nw-tools").replaceWith(tools());
    },
  });
})();

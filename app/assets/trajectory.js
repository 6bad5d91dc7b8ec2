// The tab Trajectory: film strips with a slider over the steps, figures against the step. Paths in paths.js, after this.
(() => {
  const { el, svg } = window.nineWays;
  let board = null, tell = () => {}, told = null;
  let at = 1, byLevel = false;  // how far along the runs, 0..1; whether figures stand against the level of noise
  const moves = [];  // called whenever the step changes

  const steps = (run) => run.sigmas.length - 1;
  const step = (run) => Math.round(at * steps(run));
  const HUES = ["var(--nw-run-a)", "var(--nw-run-b)", "var(--nw-run-c)", "var(--nw-run-d)", "var(--nw-run-e)", "var(--nw-run-f)"];
  const hue = (i) => HUES[i % HUES.length];
  const short = (value) => (value === null || value === undefined ? "-" : Math.abs(value) >= 1000 || (value && Math.abs(value) < 0.001) ? value.toExponential(2) : String(Number(value.toPrecision(4))));
  const go = (part) => { at = Math.max(0, Math.min(1, part)); moves.forEach((move) => move()); };

  // ---- pictures ---------------------------------------------------------------------------------------------------
  const frame = (run, kind) => el("div", { class: "nw-one-frame", role: "img", style: `aspect-ratio:${run.strips.width}/${run.strips.height};background-image:url(${run.strips[kind]});background-size:${100 * run.strips.count}% 100%` });
  const place = (shown, run) => { shown.style.backgroundPosition = `${(100 * step(run)) / Math.max(run.strips.count - 1, 1)}% 0`; };

  const strip = (run, kind, words) => {
    const sheet = el("img", { src: run.strips[kind], alt: `${words} of ${run.label}, ${run.strips.count} frames`, draggable: false });
    const cursor = el("span", { class: "nw-cursor" });
    const holder = el("div", { class: "nw-strip", style: `--count:${run.strips.count};--ratio:${run.strips.width / run.strips.height}` }, el("div", {}, sheet, cursor));
    holder.addEventListener("click", (event) => {
      const box = sheet.getBoundingClientRect();
      go(Math.min(Math.floor(((event.clientX - box.left) / box.width) * run.strips.count), steps(run)) / steps(run));
    });
    moves.push(() => {
      Object.assign(cursor.style, { left: `${(100 * step(run)) / run.strips.count}%`, width: `${100 / run.strips.count}%` });
      const box = holder.getBoundingClientRect(), x = (sheet.getBoundingClientRect().width * step(run)) / run.strips.count;
      if (x < holder.scrollLeft || x > holder.scrollLeft + box.width - 80) holder.scrollLeft = x - box.width / 2;
    });
    return el("figure", {}, el("figcaption", {}, words), holder);
  };

  const runs = () => el("div", { class: "nw-followed" }, ...told.runs.map((run, i) => {
    const state = frame(run, "x"), estimate = frame(run, "x0"), words = el("p", { class: "nw-status nw-mono" });
    moves.push(() => {
      place(state, run); place(estimate, run);
      const n = step(run);
      words.textContent = `step ${n} of ${steps(run)} · sigma ${short(run.sigmas[n])}`;
      state.setAttribute("aria-label", `State of ${run.label} at step ${n}`);
      estimate.setAttribute("aria-label", `Estimate of ${run.label} at step ${n}`);
    });
    const facts = `${run.calls} calls · ${run.seconds.toFixed(1)} s · path ${(run.length / run.chord).toFixed(3)} of its chord`;
    const parts = run.apart?.step === null || run.apart?.step === undefined ? "" : `Parts from the first run at step ${run.apart.step}, sigma ${short(run.apart.onset)}.`;
    const attention = el("button", { type: "button", class: "nw-act" }, "Attention to words");
    attention.addEventListener("click", () => tell("attention", { id: told.id, run: String(i) }));
    return el("section", { class: "nw-run", style: `--run:${hue(i)}`, "aria-label": run.label },
      el("h3", {}, el("span", { class: "nw-key", "aria-hidden": "true" }), run.label),
      el("div", { class: "nw-two" }, el("figure", {}, state, el("figcaption", {}, "state")), el("figure", {}, estimate, el("figcaption", {}, "estimate"))),
      words, el("p", {}, facts), ...(parts ? [el("p", {}, parts)] : []), ...(run.attentive ? [attention] : []));
  }));

  const films = () => el("section", { class: "nw-films", "aria-label": "Film strips" }, el("h3", {}, "Film strips"),
    ...told.runs.flatMap((run) => [strip(run, "x", `${run.label}: states, at unit scale`), strip(run, "x0", `${run.label}: estimates of the end`)]));

  // ---- figures ----------------------------------------------------------------------------------------------------
  const series = (key) => key === "apart"
    ? told.runs.map((run) => run.apart?.x0 || null)
    : told.runs.map((run) => run.figures[key]);
  const [W, H, L, R, T, B] = [420, 220, 56, 12, 12, 34];

  const along = (run, n) => {
    if (!byLevel) return n / steps(run);
    const last = run.sigmas.filter((s) => s > 0), low = Math.log(Math.min(...told.runs.map((r) => Math.min(...r.sigmas.filter((s) => s > 0)))) / 2);
    const high = Math.log(Math.max(...told.runs.map((r) => Math.max(...r.sigmas))));
    return last.length ? (high - Math.log(run.sigmas[n] > 0 ? run.sigmas[n] : Math.exp(low))) / (high - low) : 0;
  };

  const chart = (key, { title, unit, of, log }) => {
    const lines = series(key), values = lines.flatMap((line) => (line || []).filter((v) => v !== null && (!log || v > 0)));
    if (values.length < 2 || (key === "apart" && told.runs.length < 2)) return null;
    const shape = log ? Math.log10 : (v) => v;
    let [low, high] = [Math.min(...values.map(shape)), Math.max(...values.map(shape))];
    if (!log && low > 0 && low < 0.5 * high) low = 0;
    if (high - low < 1e-12) { high += 1; low -= 1; }
    const px = (part) => L + part * (W - L - R), py = (v) => H - B - ((shape(v) - low) / (high - low)) * (H - B - T);
    const plot = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "nw-scatter", role: "img", "aria-label": `${title}, ${unit}` });
    const ticks = [0, 0.5, 1].map((part) => low + part * (high - low));
    for (const tick of ticks) {
      const y = H - B - ((tick - low) / (high - low)) * (H - B - T);
      plot.append(svg("path", { d: `M${L} ${y}H${W - R}`, class: "nw-rule" }), svg("text", { x: L - 6, y: y + 4, class: "nw-tick", "text-anchor": "end" }, short(log ? 10 ** tick : tick)));
    }
    const ends = byLevel ? [`sigma ${short(Math.max(...told.runs.map((run) => run.sigmas[0])))}`, "0"] : ["start", "end"];
    plot.append(svg("text", { x: L, y: H - B + 16, class: "nw-tick" }, ends[0]), svg("text", { x: W - R, y: H - B + 16, class: "nw-tick", "text-anchor": "end" }, ends[1]),
      svg("text", { x: (L + W - R) / 2, y: H - B + 16, class: "nw-tick", "text-anchor": "middle" }, byLevel ? "level of noise" : "steps"));
    lines.forEach((line, i) => {
      if (!line) return;
      const points = line.map((v, n) => [n, v]).filter(([, v]) => v !== null && (!log || v > 0));
      plot.append(svg("path", { d: points.map(([n, v], k) => `${k ? "L" : "M"}${px(along(told.runs[i], n)).toFixed(1)} ${py(v).toFixed(1)}`).join(""), class: "nw-line", style: `stroke:${hue(i)}` }));
      const mark = svg("circle", { r: 3.5, style: `fill:${hue(i)}` });
      plot.append(mark);
      moves.push(() => {
        const n = step(told.runs[i]), near = points.reduce((best, p) => (Math.abs(p[0] - n) < Math.abs(best[0] - n) ? p : best), points[0] || [0, 0]);
        mark.setAttribute("visibility", points.length && near[0] === n ? "visible" : "hidden");
        if (points.length) { mark.setAttribute("cx", px(along(told.runs[i], near[0]))); mark.setAttribute("cy", py(near[1])); }
      });
    });
    const said = el("figcaption", {});
    moves.push(() => {
      const now = lines.map((line, i) => (line ? line[step(told.runs[i])] ?? null : null));
      said.replaceChildren(el("b", {}, title), `${unit}, ${of}`, ...now.flatMap((value, i) => (value === null ? []
        : [el("span", { class: "nw-value nw-mono", style: `--run:${hue(i)}` }, short(value))])));
    });
    const hover = (event) => {
      const box = plot.getBoundingClientRect(), part = ((event.clientX - box.left) / box.width * W - L) / (W - L - R);
      const run = told.runs[0], near = run.sigmas.map((_, n) => [Math.abs(along(run, n) - part), n]).sort((a, b) => a[0] - b[0])[0];
      go(near[1] / steps(run));
    };
    plot.addEventListener("pointermove", hover);
    plot.addEventListener("pointerdown", hover);
    return el("figure", { class: "nw-chart" }, plot, said, window.nineWays.takeAlong(plot, title));
  };

  const charts = () => {
    const switcher = el("button", { type: "button", class: "nw-act", "aria-pressed": String(byLevel) }, "Against the level of noise");
    switcher.addEventListener("click", () => { byLevel = !byLevel; draw(); });
    const all = [...Object.entries(told.figures)];
    if (told.runs.length > 1) all.push(["apart", { title: "Distance from the first run", unit: "units of the state", of: "of the estimates", log: false }]);
    return el("section", { class: "nw-summary", "aria-label": "Figures" }, el("header", {}, el("h3", {}, "Figures"), switcher),
      el("div", { class: "nw-plots" }, ...all.map(([key, one]) => chart(key, one)).filter(Boolean)));
  };

  // ---- all of it --------------------------------------------------------------------------------------------------
  const slider = () => {
    const longest = Math.max(...told.runs.map(steps));
    const range = el("input", { type: "range", min: "0", max: String(longest), value: String(Math.round(at * longest)), "aria-label": "Step", id: "path-step" });
    range.addEventListener("input", () => go(Number(range.value) / longest));
    moves.push(() => { range.value = String(Math.round(at * longest)); range.style.setProperty("--range_progress", `${100 * at}%`); });
    return el("label", { class: "nw-steps" }, "Step", range);
  };

  const draw = () => {
    moves.length = 0;
    const links = el("span", { class: "nw-exports" });
    for (const [kind, words] of [["npz", "States (npz)"], ["csv", "Figures (CSV)"]]) links.append(el("a", { class: "nw-act", href: told.files[kind], download: "" }, words));
    const parts = [runs(), slider(), films(), window.nineWays.paths(told, { hue, step, steps, short, go, moves }), charts()];
    board.replaceChildren(el("div", { class: "nw-board", "data-state": "open" },
      el("header", { class: "nw-board-head" }, el("div", {}, el("h2", {}, told.prompt || "No words"), el("p", {}, told.model)), links), ...parts));
    go(at);
  };

  const busy = (fresh) => {
    const part = fresh.of ? fresh.steps / fresh.of : 0;
    const words = fresh.first ? `${fresh.first}: ${fresh.steps} of ${fresh.of}` : (fresh.of ? `Step ${fresh.steps} of ${fresh.of}, ${fresh.busy.length} ${fresh.busy.length === 1 ? "run" : "runs"}` : "Starting");
    board.replaceChildren(el("div", { class: "nw-board", "data-state": "running" }, el("h2", {}, "Following"),
      el("div", { class: "nw-bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": String(fresh.of), "aria-valuenow": String(fresh.steps), "aria-label": "Progress", ...(fresh.of ? {} : { "data-open": "" }) },
        el("span", { style: fresh.of ? `width:${(100 * part).toFixed(1)}%` : "" })),
      el("p", { class: "nw-status" }, words), el("p", {}, fresh.busy.join(" · "))));
  };

  Object.assign(window.nineWays, {
    trajectory(element, trigger) { board = element; tell = trigger; if (told) draw(); },
    followed(fresh) {
      if (!board) { if (fresh.runs) told = fresh; return; }
      if (fresh.busy) { busy(fresh); return; }
      if (fresh.runs) { told = fresh; at = 1; draw(); board.scrollIntoView({ block: "nearest", behavior: "smooth" }); return; }
      if (told) draw(); else board.querySelector(".nw-board")?.replaceChildren(el("p", {}, "Nothing was followed."));
    },
  });
})();

// Two cells of a comparison under a slider, their difference, source and truth beside them; all zoomed and moved as one.
(() => {
  const { el } = window.nineWays;
  const view = { zoom: 1, x: 0, y: 0 };  // of every picture in the panel: in parts of its width and height

  const apply = (panel) => {
    panel.style.setProperty("--zoom", view.zoom);
    panel.style.setProperty("--x", `${100 * view.x}%`);
    panel.style.setProperty("--y", `${100 * view.y}%`);
  };
  const bound = () => {
    const most = (view.zoom - 1) / 2;
    view.x = Math.max(-most, Math.min(most, view.x));
    view.y = Math.max(-most, Math.min(most, view.y));
  };
  const zoomable = (frame, panel) => {
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      view.zoom = Math.max(1, Math.min(16, view.zoom * (event.deltaY < 0 ? 1.25 : 0.8)));
      bound(); apply(panel);
    }, { passive: false });
    frame.addEventListener("pointerdown", (event) => {
      if (event.target.closest("input") || view.zoom === 1) return;
      frame.setPointerCapture(event.pointerId);
      const from = [event.clientX, event.clientY, view.x, view.y], box = frame.getBoundingClientRect();
      const move = (e) => {
        view.x = from[2] + (e.clientX - from[0]) / box.width; view.y = from[3] + (e.clientY - from[1]) / box.height;
        bound(); apply(panel);
      };
      frame.addEventListener("pointermove", move);
      frame.addEventListener("pointerup", () => frame.removeEventListener("pointermove", move), { once: true });
    });
  };

  const framed = (words, inside, panel, aspect) => {
    const frame = el("div", { class: "nw-frame", style: `aspect-ratio:${aspect}` }, ...inside);
    zoomable(frame, panel);
    return el("figure", {}, frame, el("figcaption", {}, words));
  };

  const difference = async (a, b, canvas) => {
    const load = (source) => new Promise((done, fail) => { const image = new Image(); image.onload = () => done(image); image.onerror = fail; image.src = source; });
    const [one, other] = await Promise.all([load(a), load(b)]);
    const [w, h] = [one.naturalWidth, one.naturalHeight];
    const read = (image) => {
      const c = el("canvas"); c.width = w; c.height = h;
      const context = c.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0, w, h);
      return context.getImageData(0, 0, w, h);
    };
    const [p, q] = [read(one), read(other)];
    let total = 0;
    for (let i = 0; i < p.data.length; i += 4) {
      for (let k = 0; k < 3; k += 1) {
        const gap = Math.abs(p.data[i + k] - q.data[i + k]);
        total += gap;
        p.data[i + k] = Math.min(255, 3 * gap);
      }
    }
    canvas.width = w; canvas.height = h;
    canvas.getContext("2d").putImageData(p, 0, 0);
    return total / (w * h * 3);
  };

  window.nineWays.side = (panel, [a, b], told, { label, number, tell, close }) => {
    if (!a) { panel.replaceChildren(); return; }
    const source = (cell) => told.states[cell.key].picture;
    const head = el("header", {}, el("h3", {}, b ? "A beside B" : "A; choose another cell for B"));
    const reset = el("button", { type: "button", class: "nw-act" }, "Whole picture");
    reset.addEventListener("click", () => { Object.assign(view, { zoom: 1, x: 0, y: 0 }); apply(panel); });
    const done = el("button", { type: "button", class: "nw-act" }, "Close");
    done.addEventListener("click", close);
    head.append(reset, done);
    const body = el("div", { class: "nw-side-body" });
    if (b) {
      const under = el("img", { alt: `B: ${label(b)}`, src: source(b) }), over = el("div", { class: "nw-over" }, el("img", { alt: `A: ${label(a)}`, src: source(a) }));
      const slider = el("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": "How much of A is shown, from the left" });
      const both = framed(`A ${label(a)}   |   B ${label(b)}`, [under, over], panel, a.aspect);
      slider.addEventListener("input", () => both.style.setProperty("--cut", `${slider.value}%`));
      both.append(slider);
      const canvas = el("canvas", { role: "img", "aria-label": "Difference of A and B" });
      const apart = framed("Difference, three times as strong", [canvas], panel, a.aspect);
      difference(source(a), source(b), canvas).then((mean) => {
        apart.querySelector("figcaption").textContent = `Difference, three times as strong: ${mean.toFixed(1)} of 255 on average`;
      }).catch(() => { apart.querySelector("figcaption").textContent = "The difference cannot be read."; });
      body.append(both, apart);
    } else body.append(framed(label(a), [el("img", { alt: label(a), src: source(a) })], panel, a.aspect));
    for (const [name, words] of [["source", "Given"], ["truth", "Truth"]]) {
      const picture = told.given[a[name]];
      if (picture) body.append(framed(words, [el("img", { alt: words, src: picture })], panel, a.aspect));
    }
    const table = el("table", { class: "nw-ranks" }, el("caption", {}, "Figures"));
    const results = [a, b].filter(Boolean).map((cell) => told.states[cell.key].result);
    const names = Object.keys(told.measures).filter((key) => results.some((one) => key in one.figures));
    for (const key of names) {
      table.append(el("tr", {}, el("th", { scope: "row", title: told.measures[key].of }, told.measures[key].title),
        ...results.map((one) => el("td", { class: "nw-mono" }, key in one.figures ? number(key, one.figures[key]) : "-"))));
    }
    for (const [key, words] of [["seconds", "Seconds"], ["calls", "Network calls"], ["gradients", "Gradients"]]) {
      table.append(el("tr", {}, el("th", { scope: "row" }, words), ...results.map((one) => el("td", { class: "nw-mono" }, key === "seconds" ? one[key].toFixed(1) : String(one[key])))));
    }
    const acts = el("div", { class: "nw-acts" });
    [a, b].filter(Boolean).forEach((cell, i) => {
      const use = el("button", { type: "button", class: "nw-act" }, `Send ${"AB"[i]} to Create`);
      use.addEventListener("click", () => tell("use", { key: cell.key }));
      const follow = el("button", { type: "button", class: "nw-act" }, `Send ${"AB"[i]} to Trajectory`);
      follow.addEventListener("click", () => tell("follow", { key: cell.key }));
      acts.append(use, follow);
    });
    const said = [...new Set(results.map((one) => one.said).filter(Boolean))].map((words) => el("p", { class: "nw-note" }, words));
    const stacks = [a, b].filter(Boolean).map((cell, i) => el("p", { class: "nw-formula" }, `${"AB"[i]}  ${told.states[cell.key].result.stack}`));
    panel.replaceChildren(head, body, ...stacks, table, ...said, acts);
    apply(panel);
  };
})();

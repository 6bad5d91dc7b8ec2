// Paths of runs in the frame of their chord: turned with the mouse, hovered for the step; and plots taken along.
(() => {
  const nw = window.nineWays, { el, svg } = nw;

  // ---- any plot as a file: its own style written into it, so that it looks the same elsewhere ------------------------
  const STYLED = ["stroke", "stroke-width", "stroke-dasharray", "fill", "font-family", "font-size", "opacity"];
  const standalone = (plot) => {
    const copy = plot.cloneNode(true), from = [plot, ...plot.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
    from.forEach((one, i) => {
      const style = getComputedStyle(one);
      to[i].setAttribute("style", STYLED.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";") + (one.getAttribute("visibility") === "hidden" ? ";visibility:hidden" : ""));
    });
    const [, , w, h] = plot.getAttribute("viewBox").split(" ").map(Number);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", w); copy.setAttribute("height", h);
    const paper = getComputedStyle(document.body).getPropertyValue("--nw-paper") || "#fff";
    copy.prepend(svg("rect", { width: w, height: h, fill: paper.trim() }));
    return [new XMLSerializer().serializeToString(copy), w, h];
  };
  const save = (blob, name) => {
    const link = el("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const file = (title, kind) => `${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.${kind}`;
  nw.takeAlong = (plot, title) => {
    const holder = el("span", { class: "nw-take" });
    for (const kind of ["svg", "png"]) {
      const button = el("button", { type: "button", class: "nw-act", "aria-label": `${title} as ${kind.toUpperCase()}` }, kind.toUpperCase());
      button.addEventListener("click", () => {
        const [text, w, h] = standalone(plot), blob = new Blob([text], { type: "image/svg+xml" });
        if (kind === "svg") { save(blob, file(title, kind)); return; }
        const image = new Image(), canvas = el("canvas");
        image.onload = () => {
          canvas.width = 2 * w; canvas.height = 2 * h;
          canvas.getContext("2d").drawImage(image, 0, 0, 2 * w, 2 * h);
          canvas.toBlob((made) => save(made, file(title, kind)));
        };
        image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
      });
      holder.append(button);
    }
    return holder;
  };

  // ---- paths ------------------------------------------------------------------------------------------------------
  const [W, H, PAD] = [560, 360, 28];
  let kind = "x", turn = [0, 0];  // which paths; how far they are turned, radians about the upright and the level axis

  nw.paths = (told, { hue, step, steps, short, go, moves }) => {
    const section = el("section", { class: "nw-summary", "aria-label": "Paths" });
    const known = Object.keys(told.paths).filter((name) => told.paths[name]);
    if (!known.length) return section;
    if (!known.includes(kind)) kind = known[0];
    const words = { x: "Sampling path", x0: "Denoising path" };
    const what = { x: "states: along the chord, and off it", x0: "estimates: along their chord, and off it" };

    const draw = () => {
      const { points, shares } = told.paths[kind], all = points.flat(), axes = all[0].length;
      const span = Array.from({ length: axes }, (_, k) => { const v = all.map((p) => p[k]); return [Math.min(...v), Math.max(...v)]; });
      const unit = (p) => p.map((v, k) => (2 * (v - span[k][0])) / (span[k][1] - span[k][0] || 1) - 1);
      const seen = (p) => {
        const [x, y, z] = [...unit(p), 0].slice(0, 3), [a, b] = turn;
        const [x1, z1] = [x * Math.cos(a) + z * Math.sin(a), -x * Math.sin(a) + z * Math.cos(a)];
        return [x1, y * Math.cos(b) - z1 * Math.sin(b)];
      };
      const flat = turn[0] === 0 && turn[1] === 0, size = flat ? 1 : 0.62;
      const px = ([x]) => W - PAD - ((size * x + 1) / 2) * (W - 2 * PAD), py = ([, y]) => H - PAD - ((size * y + 1) / 2) * (H - 2 * PAD);
      const plot = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "nw-scatter nw-paths", role: "img", "aria-label": `${words[kind]} of ${told.runs.length} runs` });
      const corner = span.map(([low]) => low), arms = corner.map((_, k) => corner.map((v, j) => (j === k ? span[k][1] : v)));
      arms.forEach((arm, k) => {
        if (flat && k === 2) return;
        const [o, e] = [seen(corner), seen(arm)];
        plot.append(svg("path", { d: `M${px(o)} ${py(o)}L${px(e)} ${py(e)}`, class: "nw-rule" }));
        const name = k === 0 ? `chord, ${short(span[0][1] - span[0][0])} long` : `off it ${k}, ${short(span[k][1] - span[k][0])} wide`;
        const where = flat ? (k === 0 ? [PAD, H - 8, "start"] : [W - PAD, 16, "end"]) : [px(e), py(e) - 4, "middle"];
        plot.append(svg("text", { x: where[0], y: where[1], class: "nw-tick", "text-anchor": where[2] }, name));
      });
      const marks = [], dots = [];
      points.forEach((path, i) => {
        const at = path.map((p) => { const s = seen(p); return [px(s), py(s)]; });
        plot.append(svg("path", { d: at.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(""), class: "nw-line", style: `stroke:${hue(i)}` }));
        at.forEach(([x, y], n) => { plot.append(svg("circle", { cx: x, cy: y, r: 2, style: `fill:${hue(i)}` })); dots.push([x, y, i, n]); });
        const mark = svg("circle", { r: 5.5, class: "nw-here", style: `stroke:${hue(i)}` });
        plot.append(mark);
        marks.push(() => { const p = at[Math.min(step(told.runs[i]), at.length - 1)]; mark.setAttribute("cx", p[0]); mark.setAttribute("cy", p[1]); });
      });
      const tip = svg("text", { class: "nw-tick nw-name", visibility: "hidden" });
      plot.append(tip);
      const inPlot = (event) => { const box = plot.getBoundingClientRect(); return [((event.clientX - box.left) / box.width) * W, ((event.clientY - box.top) / box.height) * H]; };
      let from = null;
      plot.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY, ...turn]; plot.setPointerCapture(event.pointerId); });
      plot.addEventListener("pointerup", () => { from = null; });
      plot.addEventListener("pointermove", (event) => {
        if (from && axes > 2) {
          const moved = [event.clientX - from[0], event.clientY - from[1]];
          if (Math.hypot(...moved) > 4) {
            turn = [from[2] + moved[0] / 120, Math.max(-1.5, Math.min(1.5, from[3] + moved[1] / 120))];
            const kept = from, id = event.pointerId;
            draw(); current.take(kept, id);
          }
          return;
        }
        const [x, y] = inPlot(event), near = dots.map((d) => [Math.hypot(d[0] - x, d[1] - y), d]).sort((a, b) => a[0] - b[0])[0];
        if (near[0] > 24) { tip.setAttribute("visibility", "hidden"); return; }
        const [dx, dy, i, n] = near[1], run = told.runs[i];
        go(n / steps(run));
        tip.textContent = `${run.label}: step ${n}, sigma ${short(run.sigmas[n])}`;
        for (const [name, value] of Object.entries({ x: dx > W / 2 ? dx - 10 : dx + 10, y: Math.max(14, dy - 10), visibility: "visible", "text-anchor": dx > W / 2 ? "end" : "start" })) tip.setAttribute(name, value);
      });
      current = { marks, take: (kept, id) => { from = kept; plot.setPointerCapture(id); } };
      marks.forEach((mark) => mark());
      const choice = known.map((name) => {
        const button = el("button", { type: "button", class: "nw-act", "aria-pressed": String(name === kind) }, words[name]);
        button.addEventListener("click", () => { kind = name; draw(); });
        return button;
      });
      const front = el("button", { type: "button", class: "nw-act" }, "From the front");
      front.addEventListener("click", () => { turn = [0, 0]; draw(); });
      const slant = el("button", { type: "button", class: "nw-act" }, "In three dimensions");
      slant.addEventListener("click", () => { turn = [0.6, 0.45]; draw(); });
      const held = shares.map((share, k) => `axis ${k + 1} ${(100 * share).toFixed(0)} %`).join(", ");
      section.replaceChildren(el("header", {}, el("h3", {}, "Paths"), ...choice, ...(axes > 2 ? [slant] : []), ...(flat ? [] : [front])),
        el("figure", { class: "nw-chart" }, plot,
          el("figcaption", {}, `${words[kind]}, ${what[kind]}. Each axis has its own scale. Of what is off the chord: ${held}.${axes > 2 ? " Drag to turn." : ""}`),
          nw.takeAlong(plot, words[kind])));
    };
    let current = { marks: [] };
    draw();
    moves.push(() => current.marks.forEach((mark) => mark()));
    return section;
  };
})();

// Drawing over a picture: a mask with a brush, boxes and points by dragging. Everything also works from the keyboard.
(() => {
  const nw = window.nineWays;
  const h = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };
  const round = (value) => Math.round(Math.min(Math.max(value, 0), 1) * 1000) / 1000;
  const address = (sha) => `inputs/${sha}.png?door=${nw.door}`;  // of this visit: see Studio.door
  const number = (id) => Number(document.querySelector(`#${id} input[type=number]`)?.value) || 128;
  const size = () => ({ width: number("width"), height: number("height") });  // of the result, in pixels

  // A sheet of the result's shape, the picture on it as the run will see it: its middle fills the sheet.
  const sheet = (picture, ...above) => {
    const { width, height } = size();
    const back = picture ? h("img", { src: address(picture), alt: "", draggable: "false" }) : null;
    return h("div", { class: "nw-sheet-draw", style: `aspect-ratio: ${width} / ${height}` }, back, ...above);
  };
  const place = (event, element) => {
    const box = element.getBoundingClientRect();
    return { x: round((event.clientX - box.left) / box.width), y: round((event.clientY - box.top) / box.height) };
  };

  const progress = (radius, W) => `--range_progress: ${(100 * (radius - 2)) / (Math.round(W / 4) - 2)}%`;

  // ---- masks --------------------------------------------------------------------------------------------------------
  const mask = ({ label, value, picture, keep, change }) => {
    const { width, height } = size();
    const scale = Math.max(1, 256 / Math.max(width, height));  // strokes are drawn finer than the picture is
    const W = Math.round(width * scale), H = Math.round(height * scale);
    const drawn = h("canvas", { width: W, height: H });  // white on black: what the method gets
    const seen = h("canvas", {
      width: W, height: H, tabindex: "0", role: "application", class: "nw-brush",
      "aria-label": `${label}: paint with the pointer, or move with the arrow keys and paint with the space bar; E erases`,
    });
    const [ink, show] = [drawn, seen].map((one) => one.getContext("2d", { willReadFrequently: true }));
    let radius = Math.round(W / 14), erase = false, at = { x: 0.5, y: 0.5 }, from = null, keys = false;
    ink.fillStyle = "black"; ink.fillRect(0, 0, W, H); ink.lineCap = "round";

    const refresh = () => {
      const colour = getComputedStyle(seen).color;
      show.globalCompositeOperation = "copy"; show.drawImage(drawn, 0, 0);
      const pixels = show.getImageData(0, 0, W, H);
      for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i] * 0.62;
      show.putImageData(pixels, 0, 0);
      show.globalCompositeOperation = "source-in"; show.fillStyle = colour; show.fillRect(0, 0, W, H);
      show.globalCompositeOperation = "source-over";
      if (keys) {
        show.strokeStyle = colour; show.lineWidth = 2;
        show.beginPath(); show.arc(at.x * W, at.y * H, radius, 0, 7); show.stroke();
      }
    };
    const stroke = (a, b) => {
      ink.strokeStyle = erase ? "black" : "white"; ink.lineWidth = 2 * radius;
      ink.beginPath(); ink.moveTo(a.x * W, a.y * H); ink.lineTo(b.x * W + 0.01, b.y * H); ink.stroke();
      refresh();
    };
    const done = async () => {
      const some = ink.getImageData(0, 0, W, H).data.some((v, i) => i % 4 === 0 && v > 127);
      if (!some) { change(""); return; }
      const small = h("canvas", { width, height });
      small.getContext("2d").drawImage(drawn, 0, 0, width, height);
      const blob = await new Promise((resolve) => small.toBlob(resolve, "image/png"));
      const kept = await keep(blob);
      if (kept) change(kept.sha256);
    };
    seen.addEventListener("pointerdown", (event) => {
      event.preventDefault(); seen.setPointerCapture(event.pointerId); seen.focus({ preventScroll: true });
      keys = false; from = place(event, seen); stroke(from, from);
    });
    seen.addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = place(event, seen); stroke(from, to); from = to;
    });
    for (const end of ["pointerup", "pointercancel"]) seen.addEventListener(end, () => { if (from) { from = null; done(); } });
    seen.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (way) { at = { x: round(at.x + (way[0] * radius) / W / 2), y: round(at.y + (way[1] * radius) / H / 2) }; }
      else if (event.key === " ") { stroke(at, at); done(); }
      else if (event.key === "e" || event.key === "E") { toggle.click(); }
      else return;
      event.preventDefault(); event.stopPropagation(); keys = true; refresh();
    });
    seen.addEventListener("blur", () => { keys = false; refresh(); });

    const toggle = h("button", {
      type: "button", class: "nw-act", "aria-pressed": "false",
      onclick: () => { erase = !erase; toggle.setAttribute("aria-pressed", String(erase)); },
    }, "Erase");
    const tools = h("div", { class: "nw-tools" },
      h("label", { class: "nw-brush-size" }, "Brush", h("input", {
        type: "range", min: 2, max: Math.round(W / 4), value: radius, "aria-label": `${label}: brush size`, style: progress(radius, W),
        oninput: (event) => { radius = Number(event.target.value); event.target.style = progress(radius, W); },
      })),
      toggle,
      h("button", { type: "button", class: "nw-act", onclick: () => { flip(); done(); } }, "Invert"),
      h("button", {
        type: "button", class: "nw-act",
        onclick: () => { ink.fillStyle = "black"; ink.fillRect(0, 0, W, H); refresh(); change(""); },
      }, "Clear"));
    const flip = () => {
      ink.globalCompositeOperation = "difference"; ink.fillStyle = "white"; ink.fillRect(0, 0, W, H);
      ink.globalCompositeOperation = "source-over"; refresh();
    };
    const whole = h("div", { class: "nw-drawing" }, sheet(picture, seen), tools);
    if (value) {
      const image = new Image();
      image.onload = () => { ink.drawImage(image, 0, 0, W, H); refresh(); };
      image.src = address(value);
    }
    return whole;
  };

  // ---- boxes and points ---------------------------------------------------------------------------------------------
  const EDGES = [["left", "Left"], ["top", "Top"], ["right", "Right"], ["bottom", "Bottom"]];
  const ENDS = [["x", "From left"], ["y", "From top"], ["to_x", "To, left"], ["to_y", "To, top"]];

  const marks = (kind) => ({ label, value, picture, change }) => {
    const boxes = kind === "boxes";
    let all = (value || []).map((one) => ({ ...one }));
    const layer = h("div", { class: "nw-layer", "aria-hidden": "true" });
    const rows = h("ol", { class: "nw-rows" });
    let from = null, ghost = null;

    const shape = (one, i) => {
      const element = h("div", { class: boxes ? "nw-box" : "nw-point" }, h("span", { class: "nw-mono" }, String(i + 1)));
      const part = (v) => `${100 * v}%`;
      if (boxes) {
        Object.assign(element.style, {
          left: part(one.left), top: part(one.top), width: part(one.right - one.left), height: part(one.bottom - one.top),
        });
      } else {
        Object.assign(element.style, { left: part(one.x), top: part(one.y) });
      }
      return element;
    };
    const arrow = (one) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", "0 0 1 1"); svg.setAttribute("preserveAspectRatio", "none");
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      const ends = { x1: one.x, y1: one.y, x2: one.to_x ?? one.x, y2: one.to_y ?? one.y };
      for (const [name, v] of Object.entries(ends)) line.setAttribute(name, v);
      svg.append(line);
      return svg;
    };
    const paint = () => layer.replaceChildren(...all.flatMap((one, i) => (boxes ? [shape(one, i)] : [arrow(one), shape(one, i)])));
    const say = () => change(all.map((one) => ({ ...one })));
    const row = (one, i) => h("li", {},
      boxes ? h("input", {
        type: "text", value: one.text ?? "", placeholder: "What is in it", "aria-label": `Box ${i + 1}: what is in it`,
        onchange: (event) => { one.text = event.target.value; say(); },
      }) : null,
      h("div", { class: "nw-numbers" }, ...(boxes ? EDGES : ENDS).map(([name, word]) => h("label", {}, word, h("input", {
        type: "number", min: 0, max: 100, step: 1, value: one[name] === null || one[name] === undefined ? "" : Math.round(100 * one[name]),
        "aria-label": `${boxes ? "Box" : "Point"} ${i + 1}: ${word}, per cent`,
        onchange: (event) => { one[name] = event.target.value === "" ? null : round(Number(event.target.value) / 100); paint(); say(); },
      })))),
      h("button", {
        type: "button", class: "nw-act", "aria-label": `Remove ${boxes ? "box" : "point"} ${i + 1}`,
        onclick: () => { all.splice(i, 1); list(); say(); },
      }, "Remove"));
    const list = () => { paint(); rows.replaceChildren(...all.map(row)); };

    const board = sheet(picture, layer);
    board.addEventListener("pointerdown", (event) => {
      event.preventDefault(); board.setPointerCapture(event.pointerId);
      from = place(event, board); ghost = h("div", { class: "nw-box nw-ghost" }); layer.append(ghost);
    });
    board.addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = place(event, board);
      Object.assign(ghost.style, {
        left: `${100 * Math.min(from.x, to.x)}%`, top: `${100 * Math.min(from.y, to.y)}%`,
        width: `${100 * Math.abs(to.x - from.x)}%`, height: `${100 * Math.abs(to.y - from.y)}%`,
      });
    });
    board.addEventListener("pointerup", (event) => {
      if (!from) return;
      const to = place(event, board), start = from;
      from = null; ghost.remove();
      const box = {
        left: Math.min(start.x, to.x), top: Math.min(start.y, to.y), right: Math.max(start.x, to.x), bottom: Math.max(start.y, to.y),
      };
      if (boxes && (box.right - box.left < 0.03 || box.bottom - box.top < 0.03)) return;
      all.push(boxes ? { ...box, text: "" } : { x: start.x, y: start.y, to_x: to.x, to_y: to.y });
      list(); say();
      rows.lastElementChild?.querySelector("input")?.focus();
    });
    const add = h("button", {
      type: "button", class: "nw-act",
      onclick: () => {
        all.push(boxes ? { left: 0.25, top: 0.25, right: 0.75, bottom: 0.75, text: "" } : { x: 0.5, y: 0.5, to_x: null, to_y: null });
        list(); say(); rows.lastElementChild?.querySelector("input")?.focus();
      },
    }, boxes ? "Add a box" : "Add a point");
    const hint = h("p", { class: "nw-quiet" }, boxes ? "Drag over the sheet, or type edges in per cent." : "Drag from a place to where it should go.");
    list();
    return h("div", { class: "nw-drawing", "aria-label": label, role: "group" }, board, hint, rows, h("div", { class: "nw-tools" }, add));
  };

  Object.assign(nw, { h, address, size, drawing: { mask, boxes: marks("boxes"), points: marks("points") } });
})();

// Maps of attention: one word at one step over the picture, chosen by a slider, the words, or a click into the grid.
(() => {
  const nw = window.nineWays;
  const draw = (body) => {
    const word = Number(body.querySelector(".nw-word[aria-pressed=true]").dataset.word);
    const range = body.querySelector(".nw-steps input"), step = Number(range.value);
    const rows = Number(body.dataset.rows), columns = Number(body.dataset.columns), level = JSON.parse(body.dataset.levels)[step];
    const sheet = body.querySelector(".nw-all"), canvas = body.querySelector("canvas"), ink = canvas.getContext("2d", { willReadFrequently: true });
    const w = sheet.naturalWidth / columns, h = sheet.naturalHeight / rows;
    const { width, height } = canvas;
    ink.imageSmoothingQuality = "high"; ink.clearRect(0, 0, width, height);
    // half a cell of its own edge around, so that smoothing does not bring in the neighbours
    ink.drawImage(sheet, step * w + 0.5, word * h + 0.5, w - 1, h - 1, 0, 0, width, height);
    const pixels = ink.getImageData(0, 0, width, height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const v = pixels.data[i] / 255;  // dark where nobody looks, clear where the word is taken from, warm at the peak
      pixels.data.set([255 * v, 190 * v * v, 40 * v, 255 * (0.62 - 0.34 * v)], i);
    }
    ink.putImageData(pixels, 0, 0);
    body.querySelector("output").textContent = `${step + 1} of ${columns}, sigma ${level}`;
    range.style.setProperty("--range_progress", `${(100 * step) / Math.max(columns - 1, 1)}%`);
    Object.assign(body.querySelector(".nw-cursor").style, {
      left: `${(100 * step) / columns}%`, top: `${(100 * word) / rows}%`, width: `${100 / columns}%`, height: `${100 / rows}%`,
    });
    const name = body.querySelector(`.nw-word[data-word="${word}"]`).textContent;
    canvas.setAttribute("aria-label", `Where the network looks for ${name} at step ${step + 1}`);
  };
  const word = (body, i) => {
    body.querySelectorAll(".nw-word").forEach((one) => one.setAttribute("aria-pressed", String(Number(one.dataset.word) === i)));
    draw(body);
  };
  const start = (element) => {
    const body = element.querySelector(".nw-maps-body"), sheet = body?.querySelector(".nw-all");
    if (!body || body.dataset.ready) return;
    body.dataset.ready = "yes";
    if (sheet.complete) draw(body); else sheet.addEventListener("load", () => draw(body));
    body.querySelector(".nw-steps input").addEventListener("input", () => draw(body));
    element.scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  nw.maps = (element, props, watch, trigger) => {
    watch("value", () => { element.querySelectorAll("[data-ready]").forEach((one) => delete one.dataset.ready); start(element); });
    element.addEventListener("click", (event) => {
      if (event.target.closest("[data-close]")) { trigger("close"); return; }
      const body = event.target.closest(".nw-maps-body"), hit = event.target.closest(".nw-word");
      if (!body) return;
      if (hit) word(body, Number(hit.dataset.word));
      const cells = event.target.closest(".nw-sheet-maps");
      if (cells) {
        const box = cells.getBoundingClientRect();
        const part = (now, from, size, n) => Math.min(Math.floor(((now - from) / size) * n), n - 1);
        body.querySelector(".nw-steps input").value = part(event.clientX, box.left, box.width, Number(body.dataset.columns));
        word(body, part(event.clientY, box.top, box.height, Number(body.dataset.rows)));
      }
    });
  };
})();

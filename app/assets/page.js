// Keys, pictures, dropped files. Plain functions on the document; Gradio draws the rest.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const button = (id) => $(`button#${id}, #${id} button`);
  const press = (id) => { const b = button(id); if (b && !b.disabled) b.click(); return Boolean(b && !b.disabled); };
  const shown = (element) => Boolean(element && element.offsetParent);

  // light and dark: the system's choice until someone chooses
  const mode = () => localStorage.getItem("nine-ways-mode");
  const dress = (dark) => {
    document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    const toggle = $("#nw-mode");
    if (toggle) toggle.setAttribute("aria-pressed", String(dark));
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const redress = () => dress(mode() ? mode() === "dark" : system.matches);
  system.addEventListener("change", redress);
  document.documentElement.lang = "en";
  const ready = (what) => {  // Gradio may put this script in after the page has loaded
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", what); else what();
  };
  ready(() => {
    redress();
    new MutationObserver(() => {  // Gradio sets its own idea of the mode when it has mounted
      if (mode() && document.body.classList.contains("dark") !== (mode() === "dark")) redress();
    }).observe(document.body, { attributeFilter: ["class"] });
  });

  // the picture: another one from the strip; true pixels and back
  const show = (thumb, focus = true) => {
    const film = thumb.closest(".nw-film");
    const stage = $(`#${film.dataset.stage} .nw-stage`);
    const data = JSON.parse(thumb.dataset.picture);
    film.querySelectorAll(".nw-thumb").forEach((t) => t.setAttribute("aria-selected", String(t === thumb)));
    film.querySelectorAll(".nw-thumb").forEach((t) => { t.tabIndex = t === thumb ? 0 : -1; });
    if (stage && stage.dataset.state !== "running") {
      const holder = document.createElement("div");
      holder.innerHTML = data.html;
      stage.replaceChildren(...holder.firstElementChild.childNodes);
      stage.dataset.state = "done";
    }
    thumb.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (focus) thumb.focus({ preventScroll: true });
  };
  const walk = (film, by) => {
    const thumbs = [...film.querySelectorAll(".nw-thumb")];
    if (!thumbs.length) return false;
    const at = thumbs.findIndex((t) => t.getAttribute("aria-selected") === "true");
    show(thumbs[Math.min(Math.max(at + by, 0), thumbs.length - 1)], film.contains(document.activeElement));
    return true;
  };
  const truePixels = (picture) => {
    const on = picture.getAttribute("aria-pressed") !== "true";
    picture.setAttribute("aria-pressed", String(on));
    const image = $("img", picture);
    image.style.width = on ? `${image.naturalWidth / devicePixelRatio}px` : "";
  };
  const copy = async (text, b) => {
    try { await navigator.clipboard.writeText(text); } catch { return; }
    const word = b.textContent; b.textContent = "Copied"; setTimeout(() => { b.textContent = word; }, 1200);
  };

  // trouble at the field
  const forget = (input) => {
    document.getElementById(input.getAttribute("aria-describedby"))?.remove();
    input.removeAttribute("aria-invalid"); input.removeAttribute("aria-describedby");
  };
  const problems = (found) => {
    document.querySelectorAll("[aria-invalid=true]").forEach(forget);
    document.querySelectorAll(".block > .nw-problem").forEach((p) => p.remove());
    let first = null;
    for (const [name, words] of Object.entries(found)) {
      const field = document.getElementById(name);
      const input = field && $("textarea, input[type=number], input", field);
      if (!input) continue;
      const p = document.createElement("p");
      Object.assign(p, { className: "nw-problem", id: `${name}-problem`, textContent: words });
      p.setAttribute("role", "alert");
      field.append(p);
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", p.id);
      first ??= input;
    }
    first?.focus();
  };
  document.addEventListener("input", (event) => { if (event.target.ariaInvalid === "true") forget(event.target); }, true);
  // a long list of a menu scrolls, so the browser would let Tab go into it, where the menu closes and the focus is lost
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") document.querySelectorAll(".options, .options [role=listbox]").forEach((list) => { list.tabIndex = -1; });
  }, true);

  // elements: properties where there are such and the value is no text, attributes else; children after them
  const el = (tag, attributes = {}, ...inside) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in made && typeof value !== "string") made[name] = value; else made.setAttribute(name, value);
    }
    made.append(...inside);
    return made;
  };
  const svg = (tag, attributes = {}, ...inside) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...inside);
    return made;
  };

  window.nineWays = {
    el, svg,
    problems(all) {
      const ofMethods = ([name]) => name.startsWith("methods");
      const found = Object.fromEntries(Object.entries(all).filter((one) => !ofMethods(one)));
      const refused = Object.fromEntries(Object.entries(all).filter(ofMethods));
      if (Object.keys(refused).length) window.nineWays.refuse(refused);
      const advanced = $("#advanced > button");
      const hidden = Object.keys(found).some((name) => !shown(document.getElementById(name)));
      if (hidden && advanced) { advanced.click(); setTimeout(() => problems(found), 120); } else problems(found);
    },
  };

  const drawers = () => document.querySelectorAll("button.label-wrap").forEach((b) => {
    b.setAttribute("aria-expanded", String(shown(b.parentElement.querySelector(":scope > [data-testid=accordion-content]"))));
  });
  ready(() => setTimeout(() => {
    drawers();
    const nobody = !document.activeElement || document.activeElement === document.body;
    if (nobody && matchMedia("(pointer: fine)").matches) $("#prompt textarea")?.focus({ preventScroll: true });
  }, 1000));

  // deleting asks once more, on the same button
  document.addEventListener("click", (event) => {
    const remove = event.target.closest("[data-act=remove]");
    if (!remove || remove.dataset.sure) return;
    event.preventDefault(); event.stopPropagation();
    remove.dataset.sure = "yes"; remove.textContent = "Delete for good?";
    setTimeout(() => { delete remove.dataset.sure; remove.textContent = "Delete"; }, 4000);
  }, true);

  document.addEventListener("click", (event) => {
    const on = (selector) => event.target.closest(selector);
    let hit;
    if ((hit = on(".nw-thumb"))) show(hit);
    else if ((hit = on("button.nw-picture"))) truePixels(hit);
    else if ((hit = on("[data-copy]"))) copy($(`pre`, hit.closest("details"))?.textContent ?? "", hit);
    else if ((hit = on("button.label-wrap"))) setTimeout(() => drawers(), 0);
    else if (on("#nw-keys-open")) $("#nw-keys")?.showModal();
    else if (on("#nw-keys-close") || event.target.id === "nw-keys") $("#nw-keys")?.close();
    else if (on("#nw-mode")) {
      localStorage.setItem("nine-ways-mode", document.body.classList.contains("dark") ? "light" : "dark");
      redress();
    }
  });

  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable=true]");
    const dialog = $("dialog[open]");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !dialog) {
      event.preventDefault(); event.stopPropagation();
      if (shown(button("generate"))) press("generate");
    } else if (event.key === "Escape" && !dialog && !$("[role=listbox]:not(.nw-film)")) {
      if (shown(button("cancel")) && press("cancel")) { event.preventDefault(); event.stopPropagation(); }
    } else if (event.key === "?" && !writing && !dialog) {
      event.preventDefault(); $("#nw-keys")?.showModal();
    } else if (["ArrowLeft", "ArrowRight"].includes(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      if (writing || dialog || event.target.closest("[role=tab], [role=slider], [role=application], input")) return;
      const film = [...document.querySelectorAll(".nw-film")].find(shown);
      if (film && walk(film, event.key === "ArrowLeft" ? -1 : 1)) event.preventDefault();
    }
  }, true);

  // a picture dropped anywhere restores its settings
  const files = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const inOwnZone = (event) => event.target.closest && event.target.closest("[data-own-drop]");
  let depth = 0;
  const dragging = (on) => document.body.classList.toggle("nw-dragging", on);
  document.addEventListener("dragenter", (e) => { if (files(e) && !inOwnZone(e)) { depth += 1; dragging(true); } });
  document.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); if (!depth) dragging(false); });
  document.addEventListener("dragover", (e) => { if (files(e) && !inOwnZone(e)) e.preventDefault(); });
  document.addEventListener("drop", (event) => {
    depth = 0; dragging(false);
    if (!files(event) || inOwnZone(event)) return;
    event.preventDefault(); event.stopPropagation();
    const input = $("#restore input[type=file]") ?? $("input#restore[type=file]") ?? $("#restore-row input[type=file]");
    if (!input || !event.dataTransfer.files.length) return;
    const one = new DataTransfer();
    one.items.add(event.dataTransfer.files[0]);
    input.files = one.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);
})();

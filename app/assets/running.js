// @ts-check
/** The run of Create, in the page's header on every other tab and in the title: how far it is, and a way to cancel it. */
import { actButton, element, find, isShown } from "./element.js";
import { pressAnywhere, whenPresent } from "./gradio.js";

const TITLE = document.title;

/** From now on. */
export function watchRun() {
  void Promise.all([whenPresent("#stage"), whenPresent("#nw-tabs")]).then(([stage, tabs]) => {
    const words = element("span", { class: "nw-mono", role: "status" });
    const sign = element("p", { class: "nw-running", hidden: true }, words,
      actButton("Cancel", () => { pressAnywhere("cancel"); }, { "aria-label": "Cancel the run of Create" }));
    tabs.before(sign);
    const look = () => {
      const running = find(".nw-stage[data-state=running]", stage);
      const said = running ? (find(".nw-status", running)?.innerText || find(".nw-status", running)?.textContent || "") : "";
      const line = `Create: ${said.replace(/\s+/g, " ").trim()}`;
      sign.hidden = !running || isShown(stage);
      if (!sign.hidden && words.textContent !== line) words.textContent = line;
      const title = running ? `${line.replace(/^Create: /, "")} · ${TITLE}` : TITLE;
      if (document.title !== title) document.title = title;
    };
    new MutationObserver(look).observe(stage, { childList: true, subtree: true, attributes: true });
    new MutationObserver(look).observe(tabs, { subtree: true, attributeFilter: ["aria-selected"] });
  });
}

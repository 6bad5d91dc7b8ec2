// @ts-check
/** Light and dark: the system's choice until someone chooses. */
import { find } from "./element.js";
import { isDark, onModeSet, setDark, whenPresent } from "./gradio.js";

const KEPT = "nine-ways-mode";
const system = matchMedia("(prefers-color-scheme: dark)");

const chosen = () => localStorage.getItem(KEPT);
const wanted = () => (chosen() ? chosen() === "dark" : system.matches);

function apply() {
  const dark = wanted();
  setDark(dark);
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  const button = find("#nw-mode");
  if (button && button.getAttribute("aria-pressed") !== String(dark)) button.setAttribute("aria-pressed", String(dark));
}

/** From now on. */
export function followMode() {
  apply();
  system.addEventListener("change", apply);
  onModeSet(() => { if (chosen() && isDark() !== wanted()) apply(); });
  void whenPresent("#nw-header").then((header) => {
    apply();
    // the server sends the header again while the network loads, without what the button says
    new MutationObserver(apply).observe(header, { childList: true, subtree: true, attributeFilter: ["aria-pressed"] });
  });
}

/** The other one, remembered. */
export function otherMode() {
  localStorage.setItem(KEPT, isDark() ? "light" : "dark");
  apply();
}

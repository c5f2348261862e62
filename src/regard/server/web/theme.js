/** Dark or light: the system's choice until the person makes one. */
import {setIcon} from "./dom.js";

const KEPT = "regard.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** @param {HTMLElement} button */
export function startTheme(button) {
  const draw = () => {
    const chosen = localStorage.getItem(KEPT);
    const isDark = chosen ? chosen === "dark" : dark.matches;
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    setIcon(button, isDark ? "sun" : "moon");
    button.setAttribute("aria-label", isDark ? "Switch to light colours" : "Switch to dark colours");
  };
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    // Choosing what the system has is going back to it.
    if ((next === "dark") === dark.matches) localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, next);
    draw();
  });
  dark.addEventListener("change", draw);
  draw();
}

/**
 * HTML that an answer holds, as its source and as a page. The page is shown in a frame with an empty sandbox: its
 * scripts do not run, it has no origin, it can open nothing, and the policy of this page, which it inherits, lets it
 * load nothing from elsewhere.
 */
import {h} from "./dom.js";

/** Whether a whole answer is HTML without a fence, as Qwen3-VL writes documents. @param {string} text */
export function isHtml(text) {
  return /^\s*(?:<!doctype html|<html[\s>])/i.test(text);
}

/** Blocks of code that are HTML get a second face. @param {HTMLElement} root */
export function addPreviews(root) {
  for (const code of root.querySelectorAll("pre > code.language-html, pre > code.language-xml, pre > code.language-svg")) {
    const text = code.textContent ?? "";
    const box = /** @type {HTMLElement} */ (code.closest(".code"));
    if (!box || !/<[a-z!]/i.test(text)) continue;
    withPreview(box, text);
  }
}

let number = 0;

/** @param {HTMLElement} box @param {string} text */
function withPreview(box, text) {
  const source = /** @type {HTMLElement} */ (box.querySelector("pre"));
  const frame = h("iframe", {sandbox: "", title: "Preview of the HTML", class: "preview", loading: "lazy", referrerpolicy: "no-referrer"});
  frame.srcdoc = text;
  frame.hidden = true;
  const name = `face-${++number}`;
  const choice = (/** @type {string} */ label, /** @type {boolean} */ isPage) => {
    const input = h("input", {type: "radio", name, value: label});
    input.checked = !isPage;
    input.addEventListener("change", () => {
      frame.hidden = !isPage;
      source.hidden = isPage;
    });
    return h("label", {}, input, h("span", {}, label));
  };
  const switcher = h("span", {class: "faces", role: "radiogroup", "aria-label": "Show the HTML as"}, choice("Source", false), choice("Preview", true));
  box.querySelector(".code-head")?.insertBefore(switcher, box.querySelector(".code-head button"));
  source.after(frame);
  box.classList.add("has-preview");
}

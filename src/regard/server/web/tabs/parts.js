/** What several applications draw their results with. */
import {h} from "../dom.js";
import {dressCode} from "../code.js";
import {drawMathematics} from "../math.js";
import {fromMarkdown} from "../markdown.js";

let count = 0;

/**
 * A switch between several faces of one thing; a face is made when it is first shown.
 * @param {string} name
 * @param {[string, () => (HTMLElement | Promise<HTMLElement>)][]} faces
 */
export function switched(name, faces) {
  const group = `app-switch-${++count}`;
  const place = h("div", {});
  /** @type {Map<string, HTMLElement>} */
  const made = new Map();
  const show = async (/** @type {string} */ label, /** @type {() => any} */ make) => {
    if (!made.has(label)) made.set(label, await make());
    place.replaceChildren(/** @type {HTMLElement} */ (made.get(label)));
  };
  const options = faces.map(([label, make], index) => {
    const input = h("input", {type: "radio", name: group, value: label, checked: index === 0});
    input.addEventListener("change", () => void show(label, make));
    return h("label", {}, input, h("span", {}, label));
  });
  void show(...faces[0]);
  return h("div", {class: "app-part"}, h("div", {class: "app-switch", role: "radiogroup", "aria-label": name}, ...options), place);
}

/** Text as Markdown. @param {string} text */
export function prose(text) {
  const body = h("div", {class: "prose"}, fromMarkdown(text));
  dressCode(body);
  void drawMathematics(body);
  return body;
}

/** HTML that somebody else wrote, in a frame that can do nothing. @param {string} html @param {string} title */
export function frame(html, title) {
  const made = h("iframe", {sandbox: "", title, class: "preview", referrerpolicy: "no-referrer"});
  made.srcdoc = html;
  return made;
}

/** @param {...HTMLElement} content */
export function face(...content) {
  return h("div", {class: "app-face"}, ...content);
}

/** Source text. @param {string} text @param {string} language */
export function source(text, language) {
  const root = h("div", {}, h("pre", {}, h("code", {class: `language-${language}`}, text)));
  dressCode(root);
  return root;
}

/** What was mended in the model's answers. @param {string[]} repairs */
export function mended(repairs) {
  return repairs?.length ? h("p", {class: "app-notes"}, `Mended in the model's answers: ${repairs.join("; ")}.`) : null;
}

/** Short facts in a row. @param {[string, string | number][]} pairs */
export function facts(pairs) {
  return h("dl", {class: "app-facts"}, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
}

/** 75.5 as 1:15.5. @param {number} seconds */
export function clock(seconds) {
  const ticks = Math.round(Math.max(0, seconds) * 10);
  const whole = Math.floor(ticks / 10), tenth = ticks % 10;
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const text = hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  return tenth ? `${text}.${tenth}` : text;
}

/** A picture that can be seen in full. @param {Blob} blob @param {string} alt @param {(figure: HTMLElement, title: string) => void} open */
export function picture(blob, alt, open) {
  const url = URL.createObjectURL(blob.type.startsWith("image/") ? blob : new Blob([blob], {type: "image/png"}));
  const button = h("button", {type: "button", class: "thumb", "aria-label": `Enlarge: ${alt}`}, h("img", {src: url, alt}));
  button.addEventListener("click", () => open(h("img", {src: url, alt}), alt));
  return button;
}

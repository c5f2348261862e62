/** Code in answers: coloured where the language is known, with its name and a button that copies. */
import {copyButton, h} from "./dom.js";

const LANGUAGES = {
  bash: ["sh", "shell", "zsh", "console"], c: ["h"], cpp: ["c++", "cc", "hpp"], css: [], diff: ["patch"], go: ["golang"],
  java: [], javascript: ["js", "jsx", "mjs"], json: ["json5", "jsonl"], latex: ["tex"], markdown: ["md"], python: ["py"],
  rust: ["rs"], sql: [], typescript: ["ts", "tsx"], xml: ["html", "svg", "xhtml"], yaml: ["yml"],
};
const MAX_COLOURED = 100_000; // characters

/** @param {string} name @returns {string | null} the file of a language */
export function languageOf(name) {
  const wanted = name.toLowerCase();
  return Object.entries(LANGUAGES).find(([file, others]) => file === wanted || others.includes(wanted))?.[0] ?? null;
}

/** @type {Promise<any> | null} */
let library = null;
/** @type {Map<string, Promise<void>>} */
const loaded = new Map();

/** @param {string} file */
async function highlighter(file) {
  library ??= import("./vendor/highlight/core.js").then((one) => one.default);
  const core = await library;
  if (!loaded.has(file)) {
    loaded.set(file, import(`./vendor/highlight/languages/${file}.js`).then((one) => core.registerLanguage(file, one.default)));
  }
  await loaded.get(file);
  return core;
}

/** Give every block of code its head and its colours. @param {HTMLElement} root */
export function dressCode(root) {
  for (const code of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("pre > code"))) {
    const name = [...code.classList].find((one) => one.startsWith("language-"))?.slice(9) ?? "";
    const pre = /** @type {HTMLElement} */ (code.parentElement);
    const text = code.textContent ?? "";
    pre.tabIndex = 0; // it scrolls sideways, also by keyboard
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", name ? `Code, ${name}` : "Code");
    const head = h("div", {class: "code-head"}, h("span", {class: "small quiet"}, name || "text"), copyButton("Copy code", () => text));
    const box = h("div", {class: "code"});
    pre.replaceWith(box);
    box.append(head, pre);
    void colour(code, name, text);
  }
}

/** @param {HTMLElement} code @param {string} name @param {string} text */
async function colour(code, name, text) {
  const file = languageOf(name);
  if (!file || text.length > MAX_COLOURED) return;
  const core = await highlighter(file);
  if (code.querySelector("a")) return; // its times are links already
  code.innerHTML = core.highlight(text, {language: file, ignoreIllegals: true}).value;
}

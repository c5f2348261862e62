/**
 * Markdown to elements. Markup in the text is shown, not obeyed; what is left goes through DOMPurify. Pictures that
 * an answer names are links, for the page asks nobody but its own server for anything.
 */
import MarkdownIt from "./vendor/markdown-it/markdown-it.js";
import DOMPurify from "./vendor/dompurify/purify.js";
import {mathematics} from "./math.js";

const parser = new MarkdownIt({html: false, linkify: false, typographer: false, breaks: true});
parser.use(mathematics);

const rules = parser.renderer.rules;
rules.image = (/** @type {any[]} */ tokens, /** @type {number} */ index) => {
  const source = parser.utils.escapeHtml(tokens[index].attrGet("src") ?? "");
  return `<a href="${source}">${parser.utils.escapeHtml(tokens[index].content || "picture")}</a>`;
};
for (const cell of ["th_open", "td_open"]) {
  rules[cell] = (/** @type {any[]} */ tokens, /** @type {number} */ index, /** @type {any} */ options, /** @type {any} */ _, /** @type {any} */ self) => {
    const side = /text-align:\s*(\w+)/.exec(tokens[index].attrGet("style") ?? "")?.[1];
    tokens[index].attrs = side ? [["class", `to-${side}`]] : null;
    return self.renderToken(tokens, index, options);
  };
}
rules.table_open = () => '<div class="table"><table>';
rules.table_close = () => "</table></div>";

const ALLOWED = {
  ALLOWED_TAGS: ["p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li",
    "table", "thead", "tbody", "tr", "th", "td", "a", "span", "div"],
  ALLOWED_ATTR: ["href", "title", "class", "start", "data-display"],
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** @param {string} text @returns {DocumentFragment} */
export function fromMarkdown(text) {
  const made = /** @type {any} */ (DOMPurify.sanitize(parser.render(text), ALLOWED));
  for (const link of made.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const table of made.querySelectorAll(".table")) {
    table.tabIndex = 0;
    table.setAttribute("role", "region");
    table.setAttribute("aria-label", "Table");
  }
  // An answer stands below the page's own heading.
  for (const heading of made.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    heading.setAttribute("role", "heading");
    heading.setAttribute("aria-level", String(Math.min(6, Number(heading.tagName[1]) + 2)));
  }
  return made;
}

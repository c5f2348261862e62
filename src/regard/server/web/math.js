/**
 * Mathematics in Markdown: $...$, \(...\), $$...$$ and \[...\] become empty elements that carry the formula, and
 * KaTeX, loaded when the first one comes, draws into them. Dollars around prices are not mathematics.
 */

const FENCES = [["$$", "$$"], ["\\[", "\\]"]];

/** A plugin of markdown-it. @param {any} parser */
export function mathematics(parser) {
  parser.inline.ruler.before("escape", "math", inline);
  parser.block.ruler.before("fence", "math_block", block, {alt: ["paragraph", "reference", "blockquote", "list"]});
  const draw = (/** @type {any[]} */ tokens, /** @type {number} */ index) => {
    const {content, block: isBlock, meta} = tokens[index];
    const text = parser.utils.escapeHtml(content);
    return isBlock ? `<p class="math" data-display="1">${text}</p>` : `<span class="math"${meta?.isDisplay ? ' data-display="1"' : ""}>${text}</span>`;
  };
  parser.renderer.rules.math = draw;
  parser.renderer.rules.math_block = draw;
}

/** @param {any} state @param {boolean} silent */
function inline(state, silent) {
  const source = state.src, from = state.pos;
  const pair = [["$$", "$$"], ["\\(", "\\)"], ["\\[", "\\]"], ["$", "$"]].find(([start]) => source.startsWith(start, from));
  if (!pair) return false;
  const [start, stop] = pair;
  const begin = from + start.length;
  let end = source.indexOf(stop, begin);
  while (end > 0 && source[end - 1] === "\\" && stop.startsWith("$")) end = source.indexOf(stop, end + 1);
  if (end <= begin || end > state.posMax) return false;
  if (start === "$" && (/\s/.test(source[begin]) || /\s/.test(source[end - 1]) || /\d/.test(source[end + 1] ?? ""))) return false;
  if (!silent) {
    const token = state.push("math", "", 0);
    token.content = source.slice(begin, end);
    token.block = false;
    token.meta = {isDisplay: stop === "$$" || stop === "\\]"};
  }
  state.pos = end + stop.length;
  return true;
}

/** @param {any} state @param {number} line @param {number} lastLine @param {boolean} silent */
function block(state, line, lastLine, silent) {
  const first = state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
  const pair = FENCES.find(([start]) => first.startsWith(start));
  if (!pair) return false;
  const [start, stop] = pair;
  const rows = [first.slice(start.length)];
  let next = line + 1;
  let isClosed = rows[0].trimEnd().endsWith(stop) && rows[0].trim().length >= stop.length;
  while (!isClosed && next < lastLine) {
    const row = state.src.slice(state.bMarks[next] + state.tShift[next], state.eMarks[next]);
    rows.push(row);
    isClosed = row.trimEnd().endsWith(stop);
    next++;
  }
  if (!isClosed) return false;
  if (silent) return true;
  const token = state.push("math_block", "", 0);
  token.block = true;
  token.content = rows.join("\n").trimEnd().slice(0, -stop.length).trim();
  state.line = next;
  return true;
}

/** @type {Promise<any> | null} */
let library = null;

/** Draw the formulas of an element. @param {HTMLElement} root */
export async function drawMathematics(root) {
  const places = [...root.querySelectorAll(".math:not([data-drawn])")];
  if (!places.length) return;
  library ??= import("./vendor/katex/katex.min.js").then(() => /** @type {any} */ (window).katex);
  const katex = await library;
  for (const place of /** @type {HTMLElement[]} */ (places)) {
    const tex = place.textContent ?? "";
    place.dataset.drawn = "1";
    place.dataset.tex = tex;
    katex.render(tex, place, {displayMode: place.dataset.display === "1", throwOnError: false, strict: "ignore", trust: false, maxExpand: 300, maxSize: 20});
  }
}

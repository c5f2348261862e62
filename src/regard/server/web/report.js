/**
 * What the model saw, in one line and in full: the size of each picture as given and as seen, its visual tokens, the
 * frames of clips and their times, what was known from before; then tokens and time.
 *
 * @typedef {import("./types.js").Seen} Seen
 * @typedef {import("./types.js").Answer} Answer
 */
import {h} from "./dom.js";

const grouped = new Intl.NumberFormat("en");
const MAX_TIMES = 12;
const KINDS = {image: "Picture", video: "Clip", page: "Page"};

/** @param {number} seconds */
export function clock(seconds) {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = (seconds % 60).toFixed(1).replace(/\.0$/, "").padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** @param {Answer} answer @param {string[]} names  of the media, in the report's order */
export function reportOf(answer, names) {
  if (!answer.seen.length && !answer.usage) return null;
  const tokens = answer.seen.reduce((sum, seen) => sum + seen.num_visual_tokens, 0);
  const short = [];
  if (answer.seen.length) short.push(`saw ${inputs(answer.seen)} as ${grouped.format(tokens)} visual tokens`);
  if (answer.usage) short.push(`wrote ${grouped.format(answer.usage.completion_tokens)} ${answer.usage.completion_tokens === 1 ? "token" : "tokens"}`);
  if (answer.seconds) short.push(`${answer.seconds.toFixed(1)} s`);
  const box = h("details", {class: "report"}, h("summary", {class: "small", icon: "eye"}, h("span", {}, short.join(" \u00b7 "))));
  if (answer.seen.length) box.append(table(answer.seen, names));
  box.append(h("p", {class: "small quiet"}, totals(answer)));
  return box;
}

/** @param {Seen[]} all */
function inputs(all) {
  const count = (/** @type {string} */ kind, /** @type {string} */ word) => {
    const num = all.filter((seen) => seen.kind === kind).length;
    return num ? `${num} ${word}${num === 1 ? "" : "s"}` : "";
  };
  return [count("image", "picture"), count("page", "page"), count("video", "clip")].filter(Boolean).join(", ");
}

/** @param {Seen[]} all @param {string[]} names */
function table(all, names) {
  const head = ["Input", "Given", "Seen", "Visual tokens", ""].map((name) => h("th", {scope: "col"}, name));
  const rows = all.map((seen, index) => {
    const name = `${names[index] ?? seen.name}${seen.page ? `, page ${seen.page}` : ""}`;
    const isSame = seen.width === seen.resized_width && seen.height === seen.resized_height;
    const notes = [];
    if (seen.kind === "video") notes.push(`${seen.num_frames} frames${seen.duration_s ? ` of ${seen.duration_s.toFixed(1)} s` : ""}`);
    if (seen.cache_hit) notes.push("known from before");
    return [
      h("tr", {}, h("th", {scope: "row"}, h("span", {class: "quiet"}, `${KINDS[seen.kind]} `), name), h("td", {}, size(seen.width, seen.height)),
        h("td", {}, isSame ? "unchanged" : size(seen.resized_width, seen.resized_height)), h("td", {class: "number"}, grouped.format(seen.num_visual_tokens)), h("td", {}, notes.join(", "))),
      seen.kind === "video" && seen.frame_times_s.length ? h("tr", {class: "times"}, h("td", {colspan: "5"}, "Frames at ", times(seen.frame_times_s))) : null,
    ];
  });
  return h("div", {class: "table", tabindex: "0", role: "region", "aria-label": "What the model saw"},
    h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows.flat())));
}

/** @param {number} width @param {number} height */
function size(width, height) {
  return `${grouped.format(width)} \u00d7 ${grouped.format(height)}`;
}

/** @param {number[]} all */
function times(all) {
  const some = all.length <= MAX_TIMES ? all : [...all.slice(0, MAX_TIMES - 2), all[all.length - 1]];
  const words = some.map(clock);
  if (some.length < all.length) words.splice(-1, 0, `\u2026 ${all.length - some.length} more \u2026`);
  return words.join("  ");
}

/** @param {Answer} answer */
function totals(answer) {
  const words = [];
  if (answer.usage) {
    words.push(`${grouped.format(answer.usage.prompt_tokens)} tokens asked, ${grouped.format(answer.usage.completion_tokens)} answered`);
    if (answer.seconds && answer.usage.completion_tokens) words.push(`${(answer.usage.completion_tokens / answer.seconds).toFixed(1)} tokens a second in all`);
  }
  if (answer.model) words.push(answer.model);
  return words.join(" \u00b7 ");
}

/**
 * A picture with boxes and points on it, and their list below. Coordinates are pixels of the picture as given, which
 * the drawing has as its own units, so it fits at every width. Whatever is pointed at, in the picture, in the list or
 * in the text, lights up everywhere.
 *
 * @typedef {import("./types.js").Box} Box
 * @typedef {import("./types.js").Point} Point
 * @typedef {{index: number, label: string, confidence: number | null, box?: Box, point?: Point}} Mark
 */
import {copyButton, h, svg} from "./dom.js";

const MAX_CHIPS = 24; // more would hide the picture; the list has them all

/** @param {Mark} mark */
export function nameOf(mark) {
  return mark.label || (mark.box ? `Box ${mark.index + 1}` : `Point ${mark.index + 1}`);
}

/** @param {number | null} confidence */
export function percent(confidence) {
  return confidence === null || confidence === undefined ? "" : `${Math.round(confidence * 100)}\u2009%`;
}

/** @param {Box[]} boxes @param {Point[]} points @param {number} image @returns {Mark[]} */
export function marksOf(boxes, points, image) {
  const all = [
    ...boxes.map((box) => ({label: box.label, confidence: box.confidence, box, image: box.image})),
    ...points.map((point) => ({label: point.label, confidence: point.confidence, point, image: point.image})),
  ];
  return all.filter((mark) => mark.image === image).map((mark, index) => ({...mark, index}));
}

/**
 * The picture with its marks; `source` null draws a blank sheet of the right shape.
 * @param {string | null} source
 * @param {{width: number, height: number}} size  pixels that the coordinates count
 * @param {Mark[]} marks
 * @param {string} alt
 */
export function pictureWithMarks(source, size, marks, alt) {
  const drawing = svg("svg", {viewBox: `0 0 ${size.width} ${size.height}`, preserveAspectRatio: "none", class: "marks", "aria-hidden": "true"});
  const chips = h("div", {class: "chips", "aria-hidden": "true"});
  const picture = source
    ? h("img", {src: source, alt, width: size.width, height: size.height, draggable: "false"})
    : svg("svg", {viewBox: `0 0 ${size.width} ${size.height}`, width: size.width, height: size.height, class: "sheet", role: "img", "aria-label": alt});
  for (const mark of marks) {
    drawing.append(...shapes(mark));
    if (marks.length <= MAX_CHIPS) chips.append(chip(mark, size));
  }
  return h("div", {class: "picture"}, picture, drawing, chips);
}

/** @param {Mark} mark */
function shapes(mark) {
  const named = {"data-mark": mark.index};
  if (mark.box) {
    const {x1, y1, x2, y2} = mark.box;
    const at = {x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1)};
    return [svg("rect", {...at, class: "halo", ...named}), svg("rect", {...at, class: "box", ...named})];
  }
  const {x, y} = /** @type {Point} */ (mark.point);
  // A line without length and with round ends is a dot whose size is not stretched with the picture.
  const at = {x1: x, y1: y, x2: x, y2: y};
  return [svg("line", {...at, class: "dot-halo", ...named}), svg("line", {...at, class: "dot", ...named})];
}

/** @param {Mark} mark @param {{width: number, height: number}} size */
function chip(mark, size) {
  const left = mark.box ? mark.box.x1 : /** @type {Point} */ (mark.point).x;
  const top = mark.box ? mark.box.y1 : /** @type {Point} */ (mark.point).y;
  const made = h("span", {class: "chip", "data-mark": mark.index}, nameOf(mark));
  if (mark.confidence !== null && mark.confidence !== undefined) made.append(h("span", {class: "chip-sure"}, percent(mark.confidence)));
  const isRight = left > size.width * 0.6;
  const edge = isRight && mark.box ? mark.box.x2 : left;
  if (isRight) made.style.right = `${100 - (edge / size.width) * 100}%`;
  else made.style.left = `${(left / size.width) * 100}%`;
  made.style.top = `${(top / size.height) * 100}%`;
  made.classList.toggle("below", top < size.height * 0.09);
  made.classList.toggle("at-point", !mark.box);
  made.classList.toggle("right", isRight);
  return made;
}

/** The list of marks. @param {Mark[]} marks */
export function legend(marks) {
  const areSure = marks.some((mark) => percent(mark.confidence));
  const rows = marks.map((mark) => {
    const at = mark.box
      ? [mark.box.x1, mark.box.y1, mark.box.x2, mark.box.y2]
      : [/** @type {Point} */ (mark.point).x, /** @type {Point} */ (mark.point).y];
    const place = at.map((one) => Math.round(one)).join(", ");
    const sure = percent(mark.confidence);
    const meter = h("span", {class: "meter", "aria-hidden": "true"});
    meter.style.setProperty("--sure", String(mark.confidence ?? 0));
    const unseen = (/** @type {string} */ words) => h("span", {class: "hidden"}, words);
    return h("li", {}, h("button", {type: "button", class: "mark", "data-mark": mark.index},
      h("span", {class: "mark-name"}, nameOf(mark)), unseen(mark.box ? ", box at " : ", point at "), h("span", {class: "mark-place"}, place), unseen(sure && ", "),
      areSure && h("span", {class: "mark-sure", title: "How sure the model was of the numbers"}, sure && meter, sure, unseen(sure && " sure"))));
  });
  const plain = () => JSON.stringify(marks.map(({label, confidence, box, point}) => ({label, confidence,
    ...(box ? {box: [box.x1, box.y1, box.x2, box.y2]} : {point: [point?.x, point?.y]})})), null, 1);
  const num = marks.length;
  return h("div", {class: "legend"},
    h("div", {class: "legend-head small quiet"}, h("span", {}, `${num} ${num === 1 ? "place" : "places"}, in pixels of the picture`), copyButton("Copy places as JSON", plain)),
    h("ol", {}, ...rows));
}

/**
 * Light up what belongs together.
 * @param {HTMLElement} root  holds the picture, the list and the text
 */
export function linkMarks(root) {
  const light = (/** @type {string | undefined} */ mark) => {
    for (const one of root.querySelectorAll("[data-mark]")) {
      one.classList.toggle("lit", mark !== undefined && one.getAttribute("data-mark") === mark);
    }
    root.classList.toggle("has-lit", mark !== undefined);
  };
  const of = (/** @type {Event} */ event) => /** @type {Element} */ (event.target).closest?.("[data-mark]")?.getAttribute("data-mark") ?? undefined;
  root.addEventListener("pointerover", (event) => light(of(event)));
  root.addEventListener("pointerleave", () => light(undefined));
  root.addEventListener("focusin", (event) => light(of(event)));
  root.addEventListener("focusout", () => light(undefined));
}

/**
 * Mark the labels where the text speaks of them.
 * @param {HTMLElement} text
 * @param {Mark[]} marks
 */
export function markLabels(text, marks) {
  const byLabel = new Map(marks.filter((mark) => mark.label.length > 1).map((mark) => [mark.label.toLowerCase(), mark]));
  if (!byLabel.size) return;
  const words = [...byLabel.keys()].sort((a, b) => b.length - a.length).map((label) => label.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${words.join("|")})(?![\\p{L}\\p{N}])`, "giu");
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(/** @type {Text} */ (walker.currentNode));
  for (const node of nodes) {
    if (node.parentElement?.closest("a, button, pre, .math")) continue;
    for (const match of [...node.data.matchAll(pattern)].reverse()) {
      const rest = node.splitText(match.index);
      rest.splitText(match[0].length);
      rest.replaceWith(h("span", {class: "named", "data-mark": byLabel.get(match[0].toLowerCase())?.index}, rest.data));
    }
  }
}

/**
 * One question or one answer on the page.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Question} Question
 * @typedef {import("./types.js").Medium} Medium
 * @typedef {import("./types.js").Seen} Seen
 */
import {addPreviews, isHtml} from "./preview.js";
import {copyButton, h, icon} from "./dom.js";
import {dressCode} from "./code.js";
import {drawMathematics} from "./math.js";
import {fromMarkdown} from "./markdown.js";
import {card, thumbnail, urlOf} from "./media.js";
import {legend, linkMarks, markLabels, marksOf, pictureWithMarks} from "./overlay.js";
import {linkTimes} from "./times.js";
import {reportOf} from "./report.js";

const PLACES = /bbox_2d|point_2d|"(?:bbox|point)"/;

/**
 * A question: its media and words, with a way to change them.
 * @param {Question} question
 * @param {(Medium | undefined)[]} media
 * @param {{resend: (text: string) => void, open: (figure: HTMLElement, title: string) => void}} does
 */
export function questionView(question, media, does) {
  const view = h("article", {class: "turn question", "aria-label": "Question"});
  if (media.length) view.append(h("div", {class: `given given-${Math.min(media.length, 3)}`}, ...media.map((medium) => given(medium, does.open))));
  const words = h("div", {class: "words"}, question.text);
  const edit = h("button", {type: "button", class: "icon small-icon", "aria-label": "Edit and ask again", title: "Edit and ask again", icon: "pencil"});
  edit.addEventListener("click", () => editor(view, words, question.text, does.resend));
  const actions = h("div", {class: "actions"}, copyButton("Copy the question", () => question.text), edit);
  view.append(words, actions);
  if (!question.text) words.hidden = true;
  return view;
}

/** @param {HTMLElement} view @param {HTMLElement} words @param {string} text @param {(text: string) => void} resend */
function editor(view, words, text, resend) {
  const area = h("textarea", {"aria-label": "Your question", rows: 3});
  area.value = text;
  const form = h("form", {class: "editor"}, area, h("div", {class: "row"},
    h("span", {class: "small quiet"}, "What came after is replaced."),
    h("button", {type: "button", class: "button", onclick: () => leave()}, "Cancel"), h("button", {type: "submit", class: "button strong"}, "Ask again")));
  const leave = () => {
    form.replaceWith(words);
    view.classList.remove("editing");
    /** @type {HTMLElement | null} */ (view.querySelector(".actions button:last-child"))?.focus();
  };
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    resend(area.value.trim());
  });
  area.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      leave();
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  words.hidden = false;
  words.replaceWith(form);
  view.classList.add("editing");
  area.focus();
}

/** @param {Medium | undefined} medium @param {(figure: HTMLElement, title: string) => void} open */
function given(medium, open) {
  if (!medium) return h("span", {class: "card"}, "gone");
  if (medium.kind === "video") {
    const video = h("video", {src: urlOf(medium.blob), controls: true, playsinline: true, preload: "metadata", "aria-label": `Clip ${medium.name}`, "data-medium": medium.id});
    video.addEventListener("error", () => video.replaceWith(h("figure", {class: "file"}, card(medium), h("figcaption", {class: "small"}, `${medium.name}: this browser cannot play it; the model can.`))));
    return video;
  }
  if (medium.kind === "pdf") {
    return h("a", {class: "file", href: urlOf(medium.blob), target: "_blank", rel: "noopener"}, card(medium), h("span", {class: "small"}, medium.name));
  }
  const button = h("button", {type: "button", class: "thumb", "aria-label": `Enlarge ${medium.name}`}, thumbnail(medium));
  button.addEventListener("click", () => open(h("img", {src: urlOf(medium.blob), alt: medium.name}), medium.name));
  return button;
}

/** An answer; `draw` is called again whenever it has grown. */
export class AnswerView {
  /**
   * @param {Answer} answer
   * @param {object} does
   * @param {() => (Medium | undefined)[]} does.media        of the conversation up to here
   * @param {() => void} does.regenerate
   * @param {(figure: HTMLElement, title: string) => void} does.open
   * @param {() => HTMLVideoElement | null} does.video         the clip that times speak of
   */
  constructor(answer, does) {
    this.answer = answer;
    this.does = does;
    this.drawnText = "";
    this.isDone = false;
    this.thought = h("div", {class: "thought"});
    this.thinkingTitle = h("span", {});
    this.thinking = h("details", {class: "thinking", hidden: true}, h("summary", {class: "small", icon: "chevron"}, this.thinkingTitle), this.thought);
    this.body = h("div", {class: "prose"});
    this.after = h("div", {class: "after"});
    this.element = h("article", {class: "turn answer", "aria-label": "Answer"}, this.thinking, this.body, this.after);
    linkMarks(this.element);
    this.draw();
  }

  draw() {
    const {answer} = this;
    const isOver = answer.finish !== null || answer.error !== null;
    this.element.setAttribute("aria-busy", String(!isOver));
    this.element.classList.toggle("waiting", !isOver && !answer.text && !answer.thinking);
    this.drawThinking(isOver);
    if (!isOver) {
      if (answer.text !== this.drawnText) {
        this.drawnText = answer.text;
        this.body.replaceChildren(fromMarkdown(shown(answer.text)));
        void drawMathematics(this.body);
      }
      return;
    }
    // The stream says why it ended before it says how much it was; the end is drawn when both are there.
    if (this.isDone) return;
    this.body.replaceChildren(fromMarkdown(shown(answer.text)));
    void drawMathematics(this.body);
    if (answer.seconds === null && !answer.error && answer.finish !== "stopped") return;
    this.isDone = true;
    this.finish();
  }

  /** @param {boolean} isOver */
  drawThinking(isOver) {
    const {answer} = this;
    if (!answer.thinking) return;
    this.thinking.hidden = false;
    if (this.thought.textContent !== answer.thinking) this.thought.textContent = answer.thinking.trim();
    const isThinking = !isOver && !answer.text;
    this.thinking.classList.toggle("live", isThinking);
    this.thinkingTitle.textContent = isThinking || answer.thinkingSeconds === null ? "Thinking" : `Thought for ${answer.thinkingSeconds.toFixed(1)} s`;
  }

  /** Everything that needs the whole answer. */
  finish() {
    const {answer, does} = this;
    const media = does.media();
    const names = sources(answer.seen, media);
    dressCode(this.body);
    addPreviews(this.body);
    const figures = this.figures(names);
    if (figures.length) foldPlaces(this.body);
    this.linkTimes();
    const notes = this.notes();
    const report = reportOf(answer, names.map((medium, index) => medium?.name ?? answer.seen[index].name));
    const actions = h("div", {class: "actions"});
    if (answer.text) actions.append(copyButton("Copy the answer", () => answer.text));
    actions.append(h("button", {type: "button", class: "icon small-icon regenerate", "aria-label": "Answer again", title: "Answer again", icon: "refresh", onclick: does.regenerate}));
    this.after.replaceChildren(...figures, ...notes, h("div", {class: "foot"}, report ?? "", actions));
  }

  /** Pictures with what the answer points at. @param {(Medium | undefined)[]} names */
  figures(names) {
    const {answer} = this;
    const pictures = answer.seen.map((seen, index) => ({seen, medium: names[index]})).filter(({seen}) => seen.kind !== "video");
    const made = [];
    for (const [image, {seen, medium}] of pictures.entries()) {
      const marks = marksOf(answer.boxes, answer.points, image);
      if (!marks.length) continue;
      const source = medium?.kind === "image" ? urlOf(medium.blob) : null;
      const name = `${medium?.name ?? seen.name}${seen.page ? `, page ${seen.page}` : ""}`;
      const draw = () => pictureWithMarks(source, seen, marks, name);
      const enlarge = h("button", {type: "button", class: "icon enlarge", "aria-label": `Enlarge ${name}`, icon: "expand"});
      enlarge.addEventListener("click", () => this.does.open(draw(), name));
      const view = h("div", {class: "view"}, draw(), enlarge);
      const list = legend(marks);
      markLabels(this.body, marks);
      made.push(h("figure", {class: "found"}, view, seen.kind === "page" && h("figcaption", {class: "small quiet"}, `Where it is on page ${seen.page}; the page itself is not drawn.`), list));
    }
    return made;
  }

  linkTimes() {
    const video = this.does.video();
    if (!video) return;
    const link = () => linkTimes(this.body, video.duration, (seconds) => {
      video.currentTime = Math.min(seconds, video.duration);
      video.scrollIntoView({block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth"});
    });
    if (Number.isFinite(video.duration)) link();
    else video.addEventListener("loadedmetadata", link, {once: true});
  }

  /** What is to be said about the end. */
  notes() {
    const {answer, does} = this;
    if (answer.error) {
      const again = h("button", {type: "button", class: "button regenerate", onclick: does.regenerate}, "Try again");
      return [h("div", {class: "note error", role: "alert"}, icon("alert"), h("p", {}, answer.error), again)];
    }
    const words = {
      length: "The answer reached its greatest length and was cut off. Settings has a longer one.",
      repetition: "The answer went round in circles and was ended.",
      stopped: answer.text || answer.thinking ? "Stopped." : "Stopped before the first word.",
    }[answer.finish ?? ""];
    if (words) return [h("p", {class: "note small"}, words)];
    return answer.text ? [] : [h("p", {class: "note small"}, "The model had nothing to say.")];
  }
}

/** The text as Markdown: HTML and lists of places that came without a fence get one. @param {string} text */
function shown(text) {
  const trimmed = text.trim();
  if (isHtml(text)) return fenced(trimmed, "html");
  if (/^[[{]/.test(trimmed) && PLACES.test(trimmed)) return fenced(trimmed, "json");
  return text;
}

/** @param {string} text @param {string} language */
function fenced(text, language) {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((match) => match[0].length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

/** The model's own numbers are thousandths: folded away, for the list below has pixels. @param {HTMLElement} body */
function foldPlaces(body) {
  for (const box of [...body.querySelectorAll(".code")]) {
    if (!PLACES.test(box.querySelector("pre")?.textContent ?? "")) continue;
    const folded = h("details", {class: "raw"}, h("summary", {class: "small", icon: "chevron"}, h("span", {}, "As the model wrote it, in thousandths of the picture")));
    box.replaceWith(folded);
    folded.append(box);
  }
}

/** Which medium each report is about; the pages of a PDF count up. @param {Seen[]} seen @param {(Medium | undefined)[]} media */
function sources(seen, media) {
  const left = media.slice();
  let page = 0;
  /** @type {Medium | undefined} */
  let current;
  return seen.map((one) => {
    const goesOn = one.kind === "page" && current?.kind === "pdf" && (one.page ?? 0) > page;
    if (!goesOn) current = left.shift();
    page = one.page ?? 0;
    return current;
  });
}

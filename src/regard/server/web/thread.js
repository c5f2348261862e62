/**
 * The turns of the open conversation, and what stands there while it has none. Turns that are drawn stay drawn, so
 * that a clip goes on playing while the next answer comes.
 *
 * @typedef {import("./types.js").Turn} Turn
 * @typedef {import("./types.js").Medium} Medium
 */
import {AnswerView, questionView} from "./turns.js";
import {byId, h} from "./dom.js";

const NEAR_END_PX = 80;
const ABOVE_PX = 16; // of a question that is at the top
const DRAW_EVERY_MS = 60;
const EXAMPLES = [
  {title: "Find", text: "Where is the Save button? Give its bounding box."},
  {title: "Read", text: "Which settings are switched on?"},
  {title: "Build", text: "Write this screen as one HTML page."},
];

export class Thread {
  /**
   * @param {import("./chat.js").Chat} chat
   * @param {{open: (figure: HTMLElement, title: string) => void, tryExample: (text: string) => void}} does
   */
  constructor(chat, does) {
    this.chat = chat;
    this.does = does;
    /** @type {HTMLElement} */
    this.root = byId("thread");
    /** @type {HTMLElement} */
    this.scroll = byId("scroll");
    this.live = byId("live");
    /** @type {WeakMap<Turn, {element: HTMLElement, draw: () => void}>} */
    this.views = new WeakMap();
    this.isWaiting = false;
    this.isAtEnd = true;
    this.numSaid = 0;
    chat.addEventListener("conversation", () => this.draw());
    chat.addEventListener("turn", () => this.grow());
    this.scroll.addEventListener("scroll", () => this.scrolled(), {passive: true});
    byId("to-end").addEventListener("click", () => this.toEnd("smooth"));
    new ResizeObserver(() => this.isAtEnd && this.follow()).observe(this.root);
  }

  draw() {
    const {turns} = this.chat.conversation;
    this.root.classList.toggle("empty", !turns.length);
    this.numSaid = 0;
    if (!turns.length) {
      this.root.replaceChildren(welcome(this.does.tryExample));
      this.scroll.scrollTop = 0;
    } else {
      const wanted = turns.map((turn, index) => this.view(turn, index).element);
      for (const old of [...this.root.children]) if (!wanted.includes(/** @type {HTMLElement} */ (old))) old.remove();
      wanted.forEach((element, index) => this.root.children[index] !== element && this.root.insertBefore(element, this.root.children[index] ?? null));
      this.follow();
    }
    this.scrolled();
  }

  /** @param {Turn} turn @param {number} index */
  view(turn, index) {
    let view = this.views.get(turn);
    if (!view) {
      view = turn.role === "user" ? this.question(turn, index) : this.answer(turn, index);
      this.views.set(turn, view);
    }
    return view;
  }

  /** @param {import("./types.js").Question} turn @param {number} index */
  question(turn, index) {
    const media = turn.media.map((id) => this.chat.media.get(id));
    const does = {resend: (/** @type {string} */ text) => void this.chat.resend(index, text), open: this.does.open};
    return {element: questionView(turn, media, does), draw: () => {}};
  }

  /** @param {import("./types.js").Answer} turn @param {number} index */
  answer(turn, index) {
    return new AnswerView(turn, {
      media: () => this.chat.mediaBefore(index),
      regenerate: () => void this.chat.regenerate(),
      open: this.does.open,
      video: () => this.videoBefore(index),
    });
  }

  /** The newest clip that was asked about before a turn. @param {number} index @returns {HTMLVideoElement | null} */
  videoBefore(index) {
    const ids = this.chat.mediaBefore(index).filter((medium) => medium?.kind === "video").map((medium) => medium?.id);
    return this.root.querySelector(`video[data-medium="${ids.at(-1)}"]`);
  }

  /** The newest answer has more: draw it soon, not at each word. */
  grow() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    setTimeout(() => {
      this.isWaiting = false;
      const turn = this.chat.conversation.turns.at(-1);
      if (!turn) return;
      this.views.get(turn)?.draw();
      if (turn.role === "assistant") this.say(turn);
    }, DRAW_EVERY_MS);
  }

  /** Hand whole sentences to those who listen. @param {import("./types.js").Answer} turn */
  say(turn) {
    const isOver = turn.finish !== null || turn.error !== null;
    const rest = turn.text.slice(this.numSaid);
    const end = isOver ? rest.length : Math.max(...[...rest.matchAll(/[.!?:]\s|\n/g)].map((match) => match.index + 1), 0);
    if (end > 0) {
      this.live.append(h("p", {}, rest.slice(0, end).trim()));
      this.numSaid += end;
      while (this.live.children.length > 20) this.live.firstElementChild?.remove();
    }
  }

  scrolled() {
    const {scrollHeight, scrollTop, clientHeight} = this.scroll;
    this.isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    byId("to-end").hidden = this.isAtEnd || this.root.classList.contains("empty");
  }

  /** Show the newest answer from its question on; its end only to those who have scrolled past that. */
  follow() {
    const {scrollHeight, scrollTop, clientHeight} = this.scroll;
    const question = [...this.root.querySelectorAll(".question")].at(-1);
    const words = question?.querySelector(".words:not([hidden]), .editor") ?? question;
    const start = words ? words.getBoundingClientRect().top - this.scroll.getBoundingClientRect().top + scrollTop - ABOVE_PX : Infinity;
    const end = scrollHeight - clientHeight;
    this.scroll.scrollTop = scrollTop > start + NEAR_END_PX ? end : Math.min(start, end);
  }

  /** @param {ScrollBehavior} behavior */
  toEnd(behavior = "auto") {
    if (this.root.classList.contains("empty")) return;
    this.scroll.scrollTo({top: this.scroll.scrollHeight, behavior});
  }

  /** Open the newest question for editing. */
  editLast() {
    const edits = this.root.querySelectorAll(".question .actions button:last-child");
    /** @type {HTMLElement | undefined} */ (edits[edits.length - 1])?.click();
  }
}

/** @param {(text: string) => void} tryExample */
function welcome(tryExample) {
  const questions = EXAMPLES.map(({title, text}) => h("li", {}, h("button", {type: "button", class: "example", onclick: () => tryExample(text)},
    h("span", {class: "example-title"}, title), h("span", {}, text))));
  return h("section", {class: "welcome", "aria-labelledby": "welcome-title"},
    h("h2", {id: "welcome-title"}, "What do you see?"),
    h("p", {class: "lead"}, "Ask about pictures, clips and documents. Answers point at what they mean, and say what the model was shown."),
    h("div", {class: "examples"}, h("img", {src: "example.png", alt: "A screen with settings: a name, two switches, Cancel and Save", width: 352, height: 256}),
      h("div", {}, h("p", {class: "small quiet"}, "Try it with this screen"), h("ul", {}, ...questions))));
}

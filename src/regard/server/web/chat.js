/**
 * The conversation that is open: asking, the answer as it comes, stopping, asking again. It draws nothing; it says
 * "conversation" when another one is open or its turns were replaced, "turn" when the newest answer grew, "busy" when
 * an answer begins or ends, and "list" when the list of conversations changed.
 *
 * @typedef {import("./types.js").Answer} Answer
 * @typedef {import("./types.js").Conversation} Conversation
 * @typedef {import("./types.js").Medium} Medium
 * @typedef {import("./types.js").Turn} Turn
 */
import {ApiError, streamChat} from "./api.js";
import {newId, partOf} from "./media.js";

const KEEP_EVERY_MS = 1000;
const LAST = "regard.last";
const TITLE_LENGTH = 60;

export class Chat extends EventTarget {
  /** @param {import("./store.js").Store} store @param {import("./server.js").Server} server @param {import("./settings.js").Settings} settings */
  constructor(store, server, settings) {
    super();
    this.store = store;
    this.server = server;
    this.settings = settings;
    /** @type {Conversation} */
    this.conversation = empty();
    /** @type {Map<string, Medium>} */
    this.media = new Map();
    /** @type {AbortController | null} */
    this.running = null;
    this.keptAt = 0;
    /** @type {Set<string>} */
    this.forgotten = new Set();
  }

  get isBusy() {
    return this.running !== null;
  }

  /** Open what was open last. */
  async restore() {
    const id = localStorage.getItem(LAST);
    const found = id ? await this.store.conversation(id) : undefined;
    if (found) await this.show(found);
    else this.tell("conversation");
  }

  /** @param {string} id */
  async open(id) {
    if (id === this.conversation.id) return;
    const found = await this.store.conversation(id);
    if (found) await this.show(found);
  }

  /** @param {Conversation} conversation */
  async show(conversation) {
    this.stop();
    for (const turn of conversation.turns) {
      for (const id of turn.role === "user" ? turn.media : []) {
        const medium = await this.store.medium(id);
        if (medium) this.media.set(id, medium);
      }
      // The page was closed while this was written.
      if (turn.role === "assistant" && turn.finish === null && turn.error === null) turn.finish = "stopped";
    }
    this.conversation = conversation;
    localStorage.setItem(LAST, conversation.id);
    this.tell("conversation");
  }

  startNew() {
    this.stop();
    this.conversation = empty();
    localStorage.removeItem(LAST);
    this.tell("conversation");
  }

  /** @param {string} text @param {Medium[]} media */
  async ask(text, media) {
    for (const medium of media) {
      this.media.set(medium.id, medium);
      await this.store.keepMedium(medium);
    }
    const {conversation} = this;
    conversation.turns.push({role: "user", text, media: media.map((medium) => medium.id)});
    if (!conversation.isNamed && conversation.turns.length === 1) conversation.title = titleOf(text, media);
    await this.answer();
  }

  /** Ask the last question again. */
  async regenerate() {
    const {turns} = this.conversation;
    if (turns.at(-1)?.role === "assistant") turns.pop();
    if (turns.length) await this.answer();
  }

  /** Ask a question in other words; what came after it is forgotten. @param {number} index @param {string} text */
  async resend(index, text) {
    const {turns} = this.conversation;
    const turn = turns[index];
    if (turn.role !== "user") return;
    this.stop();
    turns.splice(index, turns.length, {...turn, text});
    await this.answer();
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  /** The medium behind a turn's picture number, counted over the whole conversation. @param {number} end  turns up to here */
  mediaBefore(end) {
    return this.conversation.turns.slice(0, end).flatMap((turn) => (turn.role === "user" ? turn.media : [])).map((id) => this.media.get(id));
  }

  async answer() {
    this.stop();
    const running = new AbortController();
    const {conversation} = this;
    const begun = performance.now();
    /** @type {Answer} */
    const answer = {role: "assistant", text: "", thinking: "", thinkingSeconds: null, boxes: [], points: [], seen: [], finish: null, error: null,
      usage: null, seconds: null, model: this.server.model?.id ?? ""};
    this.running = running;
    localStorage.setItem(LAST, conversation.id);
    const asked = conversation.turns.slice();
    conversation.turns.push(answer);
    this.tell("conversation");
    this.tell("busy");
    await this.keep(conversation);
    try {
      await this.read(asked, answer, running.signal, conversation);
    } catch (error) {
      if (running.signal.aborted) {
        answer.finish = "stopped";
      } else {
        answer.error = error instanceof Error ? error.message : String(error);
        this.server.notice(error);
      }
    }
    answer.seconds = (performance.now() - begun) / 1000;
    if (answer.finish === null && answer.error === null) answer.finish = "stop";
    if (this.running === running) this.running = null;
    await this.keep(conversation);
    if (this.conversation === conversation) this.tell("turn");
    this.tell("busy");
  }

  /** @param {Turn[]} asked @param {Answer} answer @param {AbortSignal} signal @param {Conversation} conversation */
  async read(asked, answer, signal, conversation) {
    let thinkingFrom = 0;
    for await (const chunk of this.chunks(asked, signal)) {
      if (signal.aborted) throw new DOMException("stopped", "AbortError");
      if (chunk.usage) answer.usage = {prompt_tokens: chunk.usage.prompt_tokens, completion_tokens: chunk.usage.completion_tokens};
      if (chunk.media) answer.seen = chunk.media;
      if (chunk.model) answer.model = chunk.model;
      const [choice] = chunk.choices ?? [];
      if (!choice) continue;
      const {reasoning_content: thinking, content} = choice.delta ?? {};
      if (thinking) {
        thinkingFrom ||= performance.now();
        answer.thinking += thinking;
      }
      if (content) {
        if (thinkingFrom && answer.thinkingSeconds === null) answer.thinkingSeconds = (performance.now() - thinkingFrom) / 1000;
        answer.text += content;
      }
      if (choice.boxes) answer.boxes = choice.boxes;
      if (choice.points) answer.points = choice.points;
      if (choice.finish_reason) answer.finish = choice.finish_reason;
      if (this.conversation === conversation) this.tell("turn");
      if (performance.now() - this.keptAt > KEEP_EVERY_MS) await this.keep(conversation);
    }
    if (thinkingFrom && answer.thinkingSeconds === null) answer.thinkingSeconds = (performance.now() - thinkingFrom) / 1000;
  }

  /** The stream; files that the server has dropped meanwhile are uploaded once more. @param {Turn[]} asked @param {AbortSignal} signal */
  async *chunks(asked, signal) {
    try {
      yield* streamChat(await this.body(asked, signal), signal);
    } catch (error) {
      const uploaded = this.mediaBefore(asked.length).filter((medium) => medium?.fileId);
      if (!(error instanceof ApiError && error.status === 404 && uploaded.length)) throw error;
      for (const medium of uploaded) delete (/** @type {Medium} */ (medium).fileId);
      yield* streamChat(await this.body(asked, signal), signal);
    }
  }

  /** The request. @param {Turn[]} asked @param {AbortSignal} signal */
  async body(asked, signal) {
    const messages = [];
    const {limits} = this.settings;
    const keep = (/** @type {Medium} */ medium) => this.store.keepMedium(medium);
    const num = asked.flatMap((turn) => (turn.role === "user" ? turn.media : [])).length;
    const most = this.server.model?.regard?.max_body_bytes; // base64 takes four bytes for three
    const maxInline = most ? Math.min(2 * 1024 * 1024, (most * 0.6) / Math.max(1, num)) : undefined;
    for (const turn of asked) {
      if (turn.role === "assistant") {
        if (turn.text) messages.push({role: "assistant", content: turn.text});
        continue;
      }
      const parts = [];
      for (const id of turn.media) {
        const medium = this.media.get(id);
        if (!medium) throw new Error("A file of this conversation is not in this browser any more. Start a new conversation with it.");
        parts.push(await partOf(medium, limits, {signal, maxInline, keep}));
      }
      if (turn.text) parts.push({type: "text", text: turn.text});
      messages.push({role: "user", content: turn.media.length ? parts : turn.text});
    }
    return {
      model: this.server.model?.id,
      messages,
      stream: true,
      stream_options: {include_usage: true},
      coordinates: "pixel",
      ...this.settings.sampling,
    };
  }

  /** @param {string} id */
  async forget(id) {
    this.forgotten.add(id); // an answer that is being stopped would keep it again
    if (id === this.conversation.id) this.startNew();
    await this.store.forget(id);
    this.tell("list");
  }

  /** @param {Conversation} conversation */
  async bringBack(conversation) {
    this.forgotten.delete(conversation.id);
    await this.store.keep(conversation);
    this.tell("list");
  }

  /** @param {Conversation} conversation */
  async keep(conversation) {
    if (this.forgotten.has(conversation.id)) return;
    this.keptAt = performance.now();
    conversation.updated = Date.now();
    await this.store.keep(conversation);
    this.tell("list");
  }

  /** @param {string} name */
  tell(name) {
    this.dispatchEvent(new Event(name));
  }
}

/** @returns {Conversation} */
function empty() {
  return {id: newId(), title: "New conversation", isNamed: false, created: Date.now(), updated: Date.now(), turns: []};
}

/** @param {string} text @param {Medium[]} media */
function titleOf(text, media) {
  const title = text.trim().split("\n")[0] || media[0]?.name || "New conversation";
  return title.length > TITLE_LENGTH ? `${title.slice(0, TITLE_LENGTH - 1).trimEnd()}\u2026` : title;
}

/**
 * The list of conversations. Up and down move in it, Enter opens, F2 renames, Delete deletes, which can be undone.
 *
 * @typedef {import("./types.js").Conversation} Conversation
 */
import {byId, h, toast} from "./dom.js";

export class HistoryList {
  /** @param {import("./store.js").Store} store @param {import("./chat.js").Chat} chat @param {() => void} opened */
  constructor(store, chat, opened) {
    this.store = store;
    this.chat = chat;
    this.opened = opened;
    /** @type {HTMLElement} */
    this.list = byId("conversations");
    this.list.addEventListener("keydown", (event) => this.key(event));
    chat.addEventListener("list", () => this.draw());
    chat.addEventListener("conversation", () => this.draw());
  }

  async draw() {
    const all = await this.store.conversations();
    if (this.list.querySelector("input")) return; // a name is being typed
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.closest("#conversations li")?.getAttribute("data-id");
    const rows = all.map((one) => this.row(one));
    this.list.replaceChildren(...rows, ...(all.length ? [] : [h("li", {class: "small quiet none"}, "Nothing yet.")]));
    if (focused) this.button(focused)?.focus();
  }

  /** @param {Conversation} one */
  row(one) {
    const isOpen = one.id === this.chat.conversation.id;
    const open = h("button", {type: "button", class: "open", "aria-current": isOpen ? "true" : undefined, title: one.title}, one.title);
    open.addEventListener("click", async () => {
      await this.chat.open(one.id);
      this.opened();
    });
    return h("li", {"data-id": one.id, class: isOpen ? "current" : ""}, open,
      h("button", {type: "button", class: "icon small-icon", "aria-label": `Rename ${one.title}`, title: "Rename", icon: "pencil", onclick: () => this.rename(one)}),
      h("button", {type: "button", class: "icon small-icon", "aria-label": `Delete ${one.title}`, title: "Delete", icon: "trash", onclick: () => this.remove(one)}));
  }

  /** @param {string} id @returns {HTMLElement | null} */
  button(id) {
    return this.list.querySelector(`li[data-id="${id}"] .open`);
  }

  /** @param {KeyboardEvent} event */
  async key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const row = target.closest("li");
    const id = row?.getAttribute("data-id");
    if (!row || !id || target.tagName === "INPUT") return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const next = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
      /** @type {HTMLElement | null | undefined} */ (next?.querySelector(".open"))?.focus();
    } else if (event.key === "Delete" || event.key === "F2") {
      event.preventDefault();
      const one = await this.store.conversation(id);
      if (one) event.key === "F2" ? this.rename(one) : await this.remove(one);
    }
  }

  /** @param {Conversation} one */
  rename(one) {
    const row = this.list.querySelector(`li[data-id="${one.id}"]`);
    if (!row) return;
    const input = h("input", {type: "text", "aria-label": "Name of the conversation", maxlength: 120});
    input.value = one.title;
    let isOver = false;
    const leave = async (/** @type {boolean} */ keeps) => {
      if (isOver) return;
      isOver = true;
      const title = input.value.trim();
      input.remove();
      if (keeps && title && title !== one.title) {
        const target = one.id === this.chat.conversation.id ? this.chat.conversation : one;
        Object.assign(target, {title, isNamed: true});
        await this.store.keep(target);
        this.chat.tell("renamed");
      }
      await this.draw();
      this.button(one.id)?.focus();
    };
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") void leave(true);
      if (event.key === "Escape") {
        event.stopPropagation();
        void leave(false);
      }
    });
    input.addEventListener("blur", () => leave(true));
    row.replaceChildren(input);
    input.select();
  }

  /** @param {Conversation} one */
  async remove(one) {
    const row = this.list.querySelector(`li[data-id="${one.id}"]`);
    const neighbour = (row?.nextElementSibling ?? row?.previousElementSibling)?.getAttribute("data-id");
    const isOpen = one.id === this.chat.conversation.id;
    await this.chat.forget(one.id);
    await this.draw();
    (neighbour ? this.button(neighbour) : byId("new"))?.focus();
    toast(`Deleted \u201c${one.title}\u201d.`, {
      label: "Undo",
      act: async () => {
        await this.chat.bringBack(one);
        if (isOpen) await this.chat.open(one.id);
      },
    });
  }
}

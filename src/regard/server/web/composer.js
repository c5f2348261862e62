/**
 * The place to ask: words, files that are dropped, pasted or chosen, screenshots. It hands over what was written and
 * knows nothing of answers.
 *
 * @typedef {import("./types.js").Medium} Medium
 */
import {byId, h, toast} from "./dom.js";
import {kindOf, mediumOf, takeScreenshot, thumbnail} from "./media.js";

const DRAFT = "regard.draft";

export class Composer {
  /** @param {{send: (text: string, media: Medium[]) => void, stop: () => void, editLast: () => void, maxBytes: () => number, elsewhere: (files: File[]) => boolean}} does */
  constructor(does) {
    this.does = does;
    /** @type {Medium[]} */
    this.media = [];
    this.isBusy = false;
    /** @type {HTMLTextAreaElement} */
    this.area = byId("question");
    this.list = byId("attachments");
    this.area.value = sessionStorage.getItem(DRAFT) ?? "";
    this.area.addEventListener("input", () => this.changed());
    this.area.addEventListener("keydown", (event) => this.key(event));
    byId("composer").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.send();
    });
    byId("stop").addEventListener("click", () => does.stop());
    const picker = byId("file");
    byId("attach").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      this.add(picker.files);
      picker.value = "";
    });
    this.takesScreenshots();
    this.takesDrops();
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      this.add(files);
    });
    this.changed();
  }

  takesScreenshots() {
    const button = byId("screenshot");
    button.hidden = !navigator.mediaDevices?.getDisplayMedia;
    button.addEventListener("click", async () => {
      const medium = await takeScreenshot();
      if (medium) this.put(medium);
    });
  }

  takesDrops() {
    const veil = byId("drop");
    let depth = 0;
    const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      depth++;
      veil.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (hasFiles(event) && --depth <= 0) veil.hidden = true;
    });
    addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      depth = 0;
      veil.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.add(event.dataTransfer?.files ?? []);
    });
  }

  /** @param {Iterable<File>} files */
  add(files) {
    if (this.does.elsewhere([...files])) return;
    for (const file of files) {
      const most = this.does.maxBytes();
      if (!kindOf(file)) toast(`${file.name || "This file"} is not a picture, a clip or a PDF.`);
      else if (file.size === 0) toast(`${file.name} is empty.`);
      else if (file.size > most) toast(`${file.name} has ${megabytes(file.size)}; the server takes ${megabytes(most)} at most.`);
      else this.put(/** @type {Medium} */ (mediumOf(file)));
    }
    this.area.focus();
  }

  /** @param {Medium} medium */
  put(medium) {
    this.media.push(medium);
    this.drawMedia();
  }

  drawMedia() {
    this.list.hidden = !this.media.length;
    this.list.replaceChildren(...this.media.map((medium, index) => h("li", {class: "attached", title: medium.name},
      thumbnail(medium), h("span", {class: "hidden"}, medium.name),
      h("button", {type: "button", class: "remove", "aria-label": `Remove ${medium.name}`, icon: "close", onclick: () => this.remove(index)}))));
    this.changed();
  }

  /** @param {number} index */
  remove(index) {
    this.media.splice(index, 1);
    this.drawMedia();
    const next = /** @type {HTMLElement | undefined} */ (this.list.querySelectorAll(".remove")[Math.min(index, this.media.length - 1)]);
    (next ?? this.area).focus();
  }

  changed() {
    this.area.style.height = "auto";
    this.area.style.height = `${this.area.scrollHeight}px`;
    sessionStorage.setItem(DRAFT, this.area.value);
    byId("send").disabled = !this.area.value.trim() && !this.media.length;
    byId("hint").hidden = this.area.value !== "" || this.media.length > 0;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.send();
    } else if (event.key === "ArrowUp" && !this.area.value && !this.media.length) {
      event.preventDefault();
      this.does.editLast();
    }
  }

  send() {
    const text = this.area.value.trim();
    if (this.isBusy || !text && !this.media.length) return;
    const {media} = this;
    this.clear();
    this.does.send(text, media);
  }

  clear() {
    this.media = [];
    this.area.value = "";
    this.drawMedia();
  }

  /** @param {boolean} isBusy */
  setBusy(isBusy) {
    const stop = byId("stop"), send = byId("send");
    const hadFocus = document.activeElement === stop || document.activeElement === send;
    this.isBusy = isBusy;
    stop.hidden = !isBusy;
    send.hidden = isBusy;
    if (hadFocus) (isBusy ? stop : this.area).focus();
  }
}

/** @param {number} bytes */
function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

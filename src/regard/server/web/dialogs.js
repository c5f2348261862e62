/** What lies over the page: a picture in full, the list of keys; and the keys themselves. */
import {h} from "./dom.js";

const KEYS = [
  ["Enter", "Send"],
  ["Shift + Enter", "New line"],
  ["Esc", "Stop the answer, or close a panel"],
  ["\u2191", "Edit the last question, while the new one is empty"],
  ["/", "Go to the question"],
  ["Alt + N", "New conversation"],
  ["Alt + H", "Conversations: \u2191 \u2193 to move, Enter to open, F2 to rename, Delete to delete"],
  ["Alt + S", "Settings"],
  ["?", "This list"],
];

/** @param {string} title @param {string} kind @param {...Node} content */
function show(title, kind, ...content) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const dialog = h("dialog", {class: kind, "aria-label": title});
  const close = h("button", {type: "button", class: "icon", "aria-label": "Close", icon: "close", onclick: () => dialog.close()});
  dialog.append(h("div", {class: "panel-head"}, h("h2", {}, title), close), ...content);
  dialog.addEventListener("close", () => {
    dialog.remove();
    before?.focus();
  });
  dialog.addEventListener("click", (/** @type {Event} */ event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

/** @param {HTMLElement} figure @param {string} title */
export function lightbox(figure, title) {
  show(title, "lightbox", h("div", {class: "lightbox-body"}, figure));
}

export function showHelp() {
  const rows = KEYS.map(([keys, what]) => [h("dt", {}, ...keys.split(" + ").flatMap((key, index) => [index ? " + " : "", h("kbd", {}, key)])), h("dd", {}, what)]);
  show("Keyboard", "help", h("dl", {}, ...rows.flat()));
}

/** @param {{stop: () => void, startNew: () => void, history: () => void, settings: () => void, question: () => void}} does */
export function listenToKeys(does) {
  const withAlt = {KeyN: does.startNew, KeyH: does.history, KeyS: does.settings};
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(/** @type {HTMLElement} */ (event.target).tagName ?? "");
    const act = event.altKey && !event.ctrlKey && !event.metaKey ? withAlt[/** @type {keyof typeof withAlt} */ (event.code)]
      : event.ctrlKey || event.metaKey || event.altKey ? undefined
      : event.key === "Escape" ? does.stop
      : isTyping ? undefined
      : event.key === "/" ? does.question
      : event.key === "?" ? showHelp : undefined;
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** The page: makes the parts and ties them together. */
import {Chat} from "./chat.js";
import {Composer} from "./composer.js";
import {HistoryList} from "./history.js";
import {Server} from "./server.js";
import {Settings, drawSettings} from "./settings.js";
import {Store} from "./store.js";
import {Tabs} from "./tabs.js";
import {Thread} from "./thread.js";
import {byId, drawIcons, h, toast} from "./dom.js";
import {lightbox, showHelp, listenToKeys} from "./dialogs.js";
import {mediumOf} from "./media.js";
import {startTheme} from "./theme.js";

const WIDE = matchMedia("(min-width: 900px)");
const MAX_FILE_BYTES = 512 * 1024 * 1024; // if the server does not say

const frame = byId("frame");
const store = await Store.open();
const server = new Server();
const settings = new Settings();
const chat = new Chat(store, server, settings);

const composer = new Composer({
  send: (text, media) => void chat.ask(text, media),
  stop: () => chat.stop(),
  editLast: () => thread.editLast(),
  maxBytes: () => server.model?.regard?.max_file_bytes ?? MAX_FILE_BYTES,
  elsewhere: (files) => tabs.take(files),
});
const thread = new Thread(chat, {open: lightbox, tryExample: (text) => void tryExample(text)});
const history = new HistoryList(store, chat, () => {
  tabs.toChat();
  if (!WIDE.matches) showHistory(false);
  composer.area.focus();
});

const tabs = new Tabs(server, {open: lightbox, changed: () => drawTitle()});

/** @param {string} text */
async function tryExample(text) {
  const picture = await (await fetch(new URL("example.png", document.baseURI))).blob();
  const medium = mediumOf(picture, "settings.png");
  if (medium) await chat.ask(text, [medium]);
}

/** @param {boolean} isShown */
function showHistory(isShown) {
  frame.classList.toggle("with-history", isShown);
  byId("history").inert = !isShown;
  byId("history-open").hidden = isShown && WIDE.matches;
  byId("history-open").setAttribute("aria-expanded", String(isShown));
  if (WIDE.matches) localStorage.setItem("regard.history", isShown ? "shown" : "hidden");
  drawScrim();
}

/** @param {boolean} isShown */
function showSettings(isShown) {
  const panel = byId("settings"), button = byId("settings-open");
  if (isShown) drawSettings(panel, settings, () => showSettings(false));
  panel.hidden = !isShown;
  button.setAttribute("aria-expanded", String(isShown));
  frame.classList.toggle("with-settings", isShown);
  drawScrim();
  if (isShown) panel.querySelector("select")?.focus();
  else if (document.activeElement === document.body) button.focus();
}

function drawScrim() {
  const isCovered = !WIDE.matches && (frame.classList.contains("with-history") || frame.classList.contains("with-settings"));
  byId("scrim").classList.toggle("shown", isCovered);
}

function closePanels() {
  if (WIDE.matches) {
    showSettings(false);
    return;
  }
  if (frame.classList.contains("with-history")) showHistory(false);
  if (frame.classList.contains("with-settings")) showSettings(false);
}

function startNew() {
  tabs.toChat();
  chat.startNew();
  if (!WIDE.matches) showHistory(false);
  composer.area.focus();
}

function drawTitle() {
  const title = tabs.current?.title ?? chat.conversation.title;
  byId("title").textContent = title;
  document.title = tabs.current || chat.conversation.turns.length ? `${title} \u2013 regard` : "regard";
}

function drawServer() {
  const place = byId("server");
  const words = {asking: "Connecting", ready: server.model?.id ?? "Ready", away: "Server not reached", locked: "Key needed"}[server.state];
  const about = server.model?.regard;
  const more = server.state === "ready" && about ? [about.is_thinking ? "thinking edition" : "", about.device ?? "", about.dtype ?? ""].filter(Boolean).join(", ") : "";
  const state = chat.isBusy && server.state === "ready" ? "busy" : server.state;
  place.className = `server ${state}`;
  place.title = more;
  const says = {asking: "", ready: "ready", busy: "answering", away: "trying again", locked: ""}[state];
  place.replaceChildren(h("span", {class: "light", "aria-hidden": "true"}), h("span", {class: "server-name"}, words), h("span", {class: "hidden"}, says));
}

function askForKey() {
  const old = document.getElementById("key-form");
  if (server.state !== "locked") {
    old?.remove();
    return;
  }
  if (old) return;
  const input = h("input", {type: "password", id: "key", autocomplete: "current-password", required: true, placeholder: "API key"});
  const form = h("form", {class: "key column", id: "key-form"}, h("label", {for: "key"}, "This server wants an API key. It is kept until the tab is closed."),
    h("div", {class: "row"}, input, h("button", {type: "submit", class: "button strong"}, "Use it")), h("p", {class: "small wrong", role: "alert", hidden: true}, "The server did not take this key."));
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    await server.unlock(input.value.trim());
    if (/** @type {string} */ (server.state) === "locked") {
      form.querySelector("[role=alert]").hidden = false;
      input.select();
    } else {
      composer.area.focus();
    }
  });
  byId("composer").before(form);
  input.focus();
}

chat.addEventListener("conversation", drawTitle);
chat.addEventListener("renamed", drawTitle);
chat.addEventListener("busy", () => {
  composer.setBusy(chat.isBusy);
  drawServer();
});
server.addEventListener("change", () => {
  settings.learn(server.presets, server.model?.regard?.defaults ?? {});
  drawServer();
  askForKey();
  if (!byId("settings").hidden) showSettings(true);
});
WIDE.addEventListener("change", () => showHistory(WIDE.matches && localStorage.getItem("regard.history") !== "hidden"));

drawIcons();
startTheme(byId("theme"));
byId("new").addEventListener("click", startNew);
byId("history-open").addEventListener("click", () => {
  showHistory(true);
  byId("new").focus();
});
byId("history-close").addEventListener("click", () => {
  showHistory(false);
  byId("history-open").focus();
});
byId("settings-open").addEventListener("click", () => showSettings(byId("settings").hidden));
byId("help-open").addEventListener("click", showHelp);
byId("scrim").addEventListener("click", closePanels);
listenToKeys({
  stop: () => (tabs.current ? tabs.stop() || closePanels() : chat.isBusy ? chat.stop() : closePanels()),
  startNew,
  history: () => {
    const isShown = !frame.classList.contains("with-history");
    showHistory(isShown);
    if (isShown) /** @type {HTMLElement} */ (document.querySelector(".conversations .open") ?? byId("new")).focus();
  },
  settings: () => showSettings(byId("settings").hidden),
  question: () => {
    tabs.toChat();
    composer.area.focus();
  },
});

showHistory(WIDE.matches && localStorage.getItem("regard.history") !== "hidden");
drawServer();
await chat.restore();
await history.draw();
void server.look();
if (!store.isKept) toast("This browser keeps nothing for this page: conversations end with it.");
else void store.sweep();
if (WIDE.matches && !tabs.current) composer.area.focus();
document.documentElement.dataset.started = "1";

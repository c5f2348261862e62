/**
 * The tabs: the conversation, and one for each application. The address says which is open (#locate), so that it can
 * be kept and gone back to. An application's module is loaded when its tab is first opened.
 */
import {AppView} from "./app_view.js";
import {byId, h} from "./dom.js";

/** Their modules stand in tabs/. */
const APPS = [["locate", "Locate"], ["document", "Document"], ["video", "Video"], ["code", "Code"], ["tutor", "Tutor"], ["agent", "Agent"]];

export class Tabs {
  /**
   * @param {import("./server.js").Server} server
   * @param {{open: (figure: HTMLElement, title: string) => void, changed: () => void}} does
   */
  constructor(server, does) {
    this.server = server;
    this.does = does;
    /** @type {Map<string, Promise<AppView>>} */
    this.views = new Map();
    /** @type {AppView | null} */
    this.view = null;
    /** @type {{name: string, title: string} | null} */
    this.current = null;
    this.links = [["chat", "Chat"], ...APPS].map(([name, title]) => h("a", {href: `#${name}`, class: "tab"}, title));
    byId("tabs").append(...this.links);
    addEventListener("hashchange", () => void this.show());
    void this.show();
  }

  async show() {
    const name = location.hash.slice(1);
    const found = APPS.find(([one]) => one === name);
    this.current = found ? {name: found[0], title: found[1]} : null;
    for (const link of this.links) {
      if (link.hash === `#${this.current?.name ?? "chat"}`) {
        link.setAttribute("aria-current", "page");
        link.scrollIntoView({block: "nearest", inline: "center"});
      } else link.removeAttribute("aria-current");
    }
    for (const id of ["scroll", "dock"]) byId(id).hidden = this.current !== null;
    byId("app").hidden = this.current === null;
    byId("to-end").hidden = true;
    queueMicrotask(this.does.changed); // the page may still be being made
    if (!found) {
      this.view = null;
      return;
    }
    if (!this.views.has(name)) this.views.set(name, import(`./tabs/${name}.js`).then((module) => new AppView(module.app, this.server, this.does)));
    const view = await /** @type {Promise<AppView>} */ (this.views.get(name));
    if (this.current?.name !== name) return;
    this.view = view;
    byId("app").replaceChildren(view.element);
    byId("app").setAttribute("aria-label", found[1]);
  }

  toChat() {
    if (this.current) location.hash = "#chat";
  }

  /** Files that were dropped or pasted, if an application is open. @param {File[]} files */
  take(files) {
    if (!this.current) return false;
    void this.views.get(this.current.name)?.then((view) => view.take(files)); // its module may still be loading
    return true;
  }

  /** End what the open application does; whether it did anything. */
  stop() {
    return this.view?.stop() ?? false;
  }
}

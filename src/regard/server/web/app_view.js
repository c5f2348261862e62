/**
 * An application's tab: what it is given on one side, what came out on the other. The module of an application says
 * what its form holds and draws its results; running, progress, errors, stopping and downloads are here.
 *
 * @typedef {{id: string, name: string, path: string, bytes: number}} MadeFile
 * @typedef {{name: string, label: string, kind: "text" | "area" | "check" | "choice", value?: any, help?: string,
 *   placeholder?: string, choices?: [string, string][], isNeeded?: (values: Record<string, any>) => boolean,
 *   isShown?: (values: Record<string, any>) => boolean}} Field
 * @typedef {{result: any, files: MadeFile[], given: File | null, shown: HTMLElement | null, values: Record<string, any>,
 *   fetch: (path: string) => Promise<Blob>, open: (figure: HTMLElement, title: string) => void}} Outcome
 * @typedef {{name: string, lead: string, takes: string[], drop: string, accept: string, verb: string, example?: boolean,
 *   fields: Field[], options: (values: Record<string, any>) => object, draw: (outcome: Outcome) => Promise<(Node | false | null)[]> | (Node | false | null)[],
 *   instead?: (outcome: {open: Outcome["open"], show: (nodes: Node[]) => void}) => {element: HTMLElement, take: (files: File[]) => void}}} App
 */
import {ApiError, getFile, getJson, streamApp, upload} from "./api.js";
import {h, icon, toast} from "./dom.js";
import {card, kindOf, mediumOf, urlOf} from "./media.js";

const KINDS = {image: "image", video: "video", pdf: "document"};
let count = 0;

export class AppView {
  /** @param {App} app @param {import("./server.js").Server} server @param {{open: (figure: HTMLElement, title: string) => void}} does */
  constructor(app, server, does) {
    this.app = app;
    this.server = server;
    this.does = does;
    this.number = ++count;
    /** @type {File | null} */
    this.given = null;
    /** @type {HTMLElement | null} the given file as it is shown */
    this.shown = null;
    /** @type {{file: File, id: string} | null} */
    this.uploaded = null;
    /** @type {AbortController | null} */
    this.running = null;
    /** @type {Map<string, any>} */
    this.inputs = new Map();
    this.out = h("section", {class: "app-out", "aria-label": "Result", "aria-busy": "false"});
    this.words = h("p", {class: "small quiet", role: "status"});
    this.bar = h("progress", {class: "app-bar", "aria-label": "Progress", hidden: true});
    this.go = h("button", {type: "submit", class: "button strong app-go"}, app.verb);
    this.halt = h("button", {type: "button", class: "button app-go", hidden: true, onclick: () => this.stop()}, "Stop");
    this.form = h("form", {class: "app-form", "aria-label": app.name}, h("p", {class: "app-lead"}, app.lead));
    if (app.takes.length) this.form.append(this.place());
    this.form.append(...app.fields.map((field) => this.field(field)), h("div", {class: "app-run"}, this.go, this.halt), this.bar, this.words);
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.run();
    });
    this.form.addEventListener("input", () => this.changed());
    this.other = app.instead?.({open: does.open, show: (nodes) => this.show(nodes)}) ?? null;
    this.element = h("div", {class: "app"}, h("div", {class: "app-side"}, this.form, this.other?.element), this.out);
    this.drawNothing();
    this.changed();
    void this.askWhetherAllowed();
  }

  /** The place for the file. */
  place() {
    const {app} = this;
    const picker = h("input", {type: "file", hidden: true, accept: app.accept, tabindex: "-1", "aria-hidden": "true"});
    picker.addEventListener("change", () => {
      this.take([...picker.files]);
      picker.value = "";
    });
    this.slot = h("button", {type: "button", class: "app-drop", onclick: () => picker.click()});
    const box = h("div", {class: "app-given"}, this.slot, picker);
    if (app.example) {
      this.example = h("button", {type: "button", class: "link small", onclick: async () => {
        const blob = await (await fetch(new URL("example.png", document.baseURI))).blob();
        this.take([new File([blob], "settings.png", {type: "image/png"})]);
      }}, "or try it with an example");
      box.append(this.example);
    }
    this.drawGiven();
    return box;
  }

  drawGiven() {
    const {given, app} = this;
    if (!given) {
      this.slot.replaceChildren(icon("plus"), h("span", {}, app.drop), h("span", {class: "small quiet"}, "Drop it anywhere, paste it, or choose"));
      return;
    }
    const medium = mediumOf(given);
    if (!medium) return;
    const shown = medium.kind === "image" ? h("img", {src: urlOf(given), alt: ""}) : card(medium);
    if (medium.kind === "image") shown.addEventListener("error", () => shown.replaceWith(card(medium)));
    this.slot.replaceChildren(shown, h("span", {class: "small"}, h("span", {class: "app-name"}, given.name), h("span", {class: "quiet"}, " \u00b7 change")));
    if (this.example) this.example.hidden = true;
  }

  /** @param {Field} field */
  field(field) {
    const id = `app-${this.number}-${field.name}`;
    const help = field.help && h("p", {class: "small quiet", id: `${id}-help`}, field.help);
    const about = field.help ? {"aria-describedby": `${id}-help`} : {};
    if (field.kind === "check") {
      const box = h("input", {type: "checkbox", id, checked: Boolean(field.value), ...about});
      this.inputs.set(field.name, box);
      return h("div", {class: "app-field app-check", "data-field": field.name}, box, h("div", {}, h("label", {for: id}, field.label), help));
    }
    const input = field.kind === "choice" ? h("select", {id, ...about}, ...(field.choices ?? []).map(([value, label]) => h("option", {value}, label)))
      : field.kind === "area" ? h("textarea", {id, rows: 3, placeholder: field.placeholder, ...about})
      : h("input", {type: "text", id, placeholder: field.placeholder, autocomplete: "off", ...about});
    if (field.value !== undefined) input.value = field.value;
    this.inputs.set(field.name, input);
    return h("div", {class: "app-field", "data-field": field.name}, h("label", {for: id}, field.label), input, help);
  }

  /** @returns {Record<string, any>} */
  get values() {
    return Object.fromEntries([...this.inputs].map(([name, input]) => [name, input.type === "checkbox" ? input.checked : input.value.trim()]));
  }

  changed() {
    const {values} = this;
    for (const field of this.app.fields) {
      const row = this.form.querySelector(`[data-field="${field.name}"]`);
      if (field.isShown) row.hidden = !field.isShown(values);
    }
    const isMissing = this.app.fields.some((field) => field.isNeeded?.(values) && !values[field.name]);
    this.go.disabled = isMissing || this.app.takes.length > 0 && !this.given || this.isRefused === true;
  }

  async askWhetherAllowed() {
    try {
      const found = (await getJson("v1/apps")).data.find((/** @type {any} */ one) => one.id === this.app.name);
      this.isRefused = !found?.is_allowed;
      if (this.isRefused) {
        const why = found?.how_to_allow ? `: ${found.how_to_allow}.` : ".";
        this.form.classList.add("refused");
        this.form.querySelector(".app-lead").after(h("p", {class: "note app-refused"}, `This server does not run it${why}`));
      }
    } catch {
      return; // what is wrong with the server is told elsewhere
    }
    this.changed();
  }

  /** @param {File[]} files */
  take(files) {
    if (this.other && (!this.app.takes.length || files.length > 1)) {
      this.other.take(files);
      return;
    }
    const [file] = files;
    const kind = file && kindOf(file);
    if (!kind || !this.app.takes.includes(KINDS[kind])) toast(`${file?.name || "This file"} is not what is wanted here: ${this.app.drop.toLowerCase()}.`);
    else if (file.size === 0) toast(`${file.name} is empty.`);
    else {
      this.given = file;
      this.drawGiven();
      this.changed();
      /** @type {HTMLElement | undefined} */ ([...this.inputs.values()].find((input) => input.type === "text" || input.rows) ?? this.go)?.focus();
    }
  }

  /** End the run; whether there was one. */
  stop() {
    const {running} = this;
    running?.abort();
    return running !== null;
  }

  async run() {
    if (this.running || this.go.disabled) return;
    const running = new AbortController();
    const {signal} = running;
    this.running = running;
    const {values, given} = this;
    this.setBusy(true);
    this.say(given ? "Sending the file" : "Starting");
    try {
      const inputs = given ? [await this.idOf(given, signal)] : [];
      this.say("Waiting for the model");
      for await (const event of streamApp(this.app.name, {inputs, options: this.app.options(values)}, signal)) {
        if (event.type === "progress") this.progress(event);
        if (event.type === "result") await this.drawResult(event, given, values);
      }
      this.say("");
    } catch (error) {
      if (signal.aborted) this.say("Stopped.");
      else this.fail(error);
    }
    this.running = null;
    this.setBusy(false);
  }

  /** @param {File} file @param {AbortSignal} signal */
  async idOf(file, signal) {
    if (this.uploaded?.file !== file) this.uploaded = {file, id: await upload(file, file.name, signal)};
    return this.uploaded.id;
  }

  /** @param {{done: number, total: number, text: string}} event */
  progress({done, total, text}) {
    if (total > 0) {
      this.bar.max = total;
      this.bar.value = Math.min(done, total);
    } else {
      this.bar.removeAttribute("value");
    }
    const words = text ? text.charAt(0).toUpperCase() + text.slice(1) : "Working";
    this.say(total > 1 ? `${words} (${Math.min(done + 1, total)} of ${total})` : words);
  }

  /** @param {any} event @param {File | null} given @param {Record<string, any>} values */
  async drawResult(event, given, values) {
    const files = /** @type {MadeFile[]} */ (event.files);
    const fetch = (/** @type {string} */ path) => {
      const found = files.find((file) => file.path === path || file.name === path);
      return found ? getFile(found.id) : Promise.reject(new ApiError("A file of this result is not there.", 404));
    };
    const nodes = await this.app.draw({result: event.result, files, given, shown: this.shown, values, fetch, open: this.does.open});
    this.show([...nodes.filter((node) => node instanceof Node), ...downloads(files), raw(event.result)]);
  }

  /** @param {Node[]} nodes */
  show(nodes) {
    this.out.replaceChildren(...nodes);
    this.out.classList.remove("app-empty");
    if (matchMedia("(max-width: 899px)").matches) this.out.scrollIntoView({block: "start"});
  }

  drawNothing() {
    this.out.classList.add("app-empty");
    this.out.replaceChildren(h("p", {class: "quiet"}, "The result comes here."));
  }

  /** @param {unknown} error */
  fail(error) {
    if (error instanceof ApiError && error.status === 404) this.uploaded = null; // the server has dropped the file
    this.server.notice(error);
    this.say("");
    const words = error instanceof Error ? error.message : String(error);
    this.show([h("div", {class: "note error", role: "alert"}, icon("alert"), h("p", {}, words), h("button", {type: "button", class: "button", onclick: () => this.run()}, "Try again"))]);
  }

  /** @param {boolean} isBusy */
  setBusy(isBusy) {
    const hadFocus = [this.go, this.halt].includes(document.activeElement);
    this.go.hidden = isBusy;
    this.halt.hidden = !isBusy;
    this.bar.hidden = !isBusy;
    this.bar.removeAttribute("value");
    this.out.setAttribute("aria-busy", String(isBusy));
    if (hadFocus) (isBusy ? this.halt : this.go).focus();
  }

  /** @param {string} words */
  say(words) {
    if (this.words.textContent !== words) this.words.textContent = words;
  }
}

/** @param {MadeFile[]} files */
function downloads(files) {
  if (!files.length) return [];
  const rows = files.map((file) => h("li", {}, h("button", {type: "button", class: "app-file", icon: "file", onclick: async () => {
    try {
      save(await getFile(file.id), file.name);
    } catch (error) {
      toast(error instanceof Error ? error.message : String(error));
    }
  }}, h("span", {class: "app-name"}, file.path), h("span", {class: "small quiet"}, size(file.bytes)))));
  return [h("section", {class: "app-part"}, h("h2", {}, "Files"), h("ul", {class: "app-files"}, ...rows))];
}

/** @param {any} result */
function raw(result) {
  return h("details", {class: "raw app-part"}, h("summary", {class: "small", icon: "chevron"}, h("span", {}, "The whole result as JSON")),
    h("pre", {class: "app-json", tabindex: "0", role: "region", "aria-label": "The result as JSON"}, JSON.stringify(result, null, 1)));
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** @param {number} bytes */
function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

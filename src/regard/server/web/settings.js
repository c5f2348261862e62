/**
 * How answers are made: a preset of the server's, and what the person changed about it. Only changes are sent, so
 * everything else is the preset's. Kept in the browser.
 *
 * @typedef {import("./types.js").Preset} Preset
 */
import {h} from "./dom.js";

const KEPT = "regard.settings";
const CELL = 32 * 32; // pixels that become one visual token

/** Positions of a slider, for values that grow by factors. */
const STEPS = {
  max_tokens: [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 81920],
  max_pixels: [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384].map((cells) => cells * CELL),
  fps: [0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24],
  temperature: Array.from({length: 41}, (_, step) => Math.round(step * 5) / 100),
  top_p: Array.from({length: 20}, (_, step) => Math.round((step + 1) * 5) / 100),
};
const grouped = new Intl.NumberFormat("en");
const ROWS = [
  {name: "temperature", title: "Temperature", help: "0 takes the likeliest word every time", show: (/** @type {number} */ value) => value.toFixed(2)},
  {name: "top_p", title: "Top-p", help: "How much of the likely words to draw from", show: (/** @type {number} */ value) => value.toFixed(2)},
  {name: "max_tokens", title: "Length of the answer", help: "Thinking counts too", show: (/** @type {number} */ value) => `${grouped.format(value)} tokens`},
  {name: "max_pixels", title: "Detail of pictures and pages", help: "More shows small print, and takes longer", show: (/** @type {number} */ value) => `${grouped.format(Math.round(value / CELL))} visual tokens`},
  {name: "fps", title: "Frames of clips", help: "How many frames of each second the model sees", show: (/** @type {number} */ value) => `${value} a second`},
];

export class Settings {
  constructor() {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    /** @type {string} */
    this.preset = kept.preset ?? "";
    /** @type {Record<string, number>} */
    this.changed = kept.changed ?? {};
    /** @type {Preset[]} */
    this.presets = [];
    /** @type {Record<string, number>} */
    this.defaults = {};
  }

  keep() {
    localStorage.setItem(KEPT, JSON.stringify({preset: this.preset, changed: this.changed}));
  }

  /** What the server says. @param {Preset[]} presets @param {Record<string, number>} defaults */
  learn(presets, defaults) {
    this.presets = presets;
    this.defaults = defaults;
    if (!presets.some((preset) => preset.name === this.preset)) this.preset = "";
  }

  reset() {
    this.preset = "";
    this.changed = {};
    this.keep();
  }

  /** The value that holds where nothing was changed. @param {string} name @returns {number | null} */
  given(name) {
    const preset = this.presets.find((one) => one.name === this.preset);
    return (preset ? preset.settings[name] : this.defaults[name]) ?? null;
  }

  /** Fields of the request. */
  get sampling() {
    const {temperature, top_p, max_tokens} = this.changed;
    return Object.fromEntries(Object.entries({preset: this.preset || undefined, temperature, top_p, max_tokens}).filter(([, value]) => value !== undefined));
  }

  /** Options of each medium. @returns {Record<string, number>} */
  get limits() {
    return Object.fromEntries(["max_pixels", "fps"].filter((name) => this.changed[name] !== undefined).map((name) => [name, this.changed[name]]));
  }
}

/**
 * The panel's content.
 * @param {HTMLElement} panel
 * @param {Settings} settings
 * @param {() => void} close
 */
export function drawSettings(panel, settings, close) {
  const again = () => {
    settings.keep();
    drawSettings(panel, settings, close);
  };
  const preset = h("select", {id: "preset"}, h("option", {value: ""}, "The model\u2019s own"), ...settings.presets.map((one) => h("option", {value: one.name}, capital(one.name))));
  preset.value = settings.preset;
  preset.addEventListener("change", () => {
    settings.preset = preset.value;
    again();
    panel.querySelector("select")?.focus();
  });
  const chosen = settings.presets.find((one) => one.name === settings.preset);
  const isPlain = !settings.preset && !Object.keys(settings.changed).length;
  const reset = h("button", {type: "button", class: "button", id: "reset", disabled: isPlain}, "Reset all");
  reset.addEventListener("click", () => {
    settings.reset();
    again();
    panel.querySelector("select")?.focus();
  });
  panel.replaceChildren(
    h("div", {class: "panel-head"}, h("h2", {}, "Settings"), h("button", {type: "button", class: "icon", "aria-label": "Close settings", icon: "close", onclick: close})),
    h("div", {class: "field"}, h("label", {for: "preset"}, "Preset"), preset,
      h("p", {class: "small quiet", title: chosen?.source}, chosen ? `For ${chosen.title}.` : "What the checkpoint was published with.")),
    ...ROWS.map((row) => slider(row, settings, reset)),
    h("div", {class: "field"}, reset),
  );
}

/** @param {typeof ROWS[number]} row @param {Settings} settings @param {HTMLButtonElement} reset */
function slider(row, settings, reset) {
  const steps = STEPS[/** @type {keyof typeof STEPS} */ (row.name)];
  const given = settings.given(row.name);
  const value = () => settings.changed[row.name] ?? given;
  const id = `set-${row.name}`;
  const input = h("input", {type: "range", id, min: 0, max: steps.length - 1, step: 1, "aria-describedby": `${id}-help`});
  const shown = h("output", {for: id});
  const back = h("button", {type: "button", class: "link small", "aria-label": `Reset ${row.title.toLowerCase()}`}, "reset");
  const draw = () => {
    const now = value();
    const isChanged = settings.changed[row.name] !== undefined;
    shown.textContent = now === null ? "automatic" : row.show(now);
    input.value = String(now === null ? Math.floor(steps.length / 2) : nearest(steps, now));
    input.setAttribute("aria-valuetext", shown.textContent);
    shown.classList.toggle("quiet", !isChanged);
    back.hidden = !isChanged;
    reset.disabled = !settings.preset && !Object.keys(settings.changed).length;
    input.style.setProperty("--at", `${(Number(input.value) / (steps.length - 1)) * 100}%`);
    input.classList.toggle("unset", !isChanged);
  };
  input.addEventListener("input", () => {
    settings.changed[row.name] = steps[Number(input.value)];
    settings.keep();
    draw();
  });
  back.addEventListener("click", () => {
    delete settings.changed[row.name];
    settings.keep();
    draw();
    input.focus();
  });
  draw();
  return h("div", {class: "field"}, h("div", {class: "field-head"}, h("label", {for: id}, row.title), h("span", {class: "field-value"}, back, shown)), input,
    h("p", {class: "small quiet", id: `${id}-help`}, row.help));
}

/** @param {number[]} steps @param {number} value */
function nearest(steps, value) {
  return steps.reduce((best, step, index) => (Math.abs(step - value) < Math.abs(steps[best] - value) ? index : best), 0);
}

/** @param {string} word */
function capital(word) {
  return word === "ocr" || word === "gui" || word === "stem" ? word.toUpperCase() : word.charAt(0).toUpperCase() + word.slice(1);
}

/** Making elements, and icons that are drawn here. */

const SVG = "http://www.w3.org/2000/svg";

/** Strokes on a grid of 24. */
const ICONS = {
  "plus": "M12 5v14M5 12h14",
  "panel-left": "M4 5h16v14H4zM10 5v14",
  "sliders": "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.500v5M8 14.500v5",
  "moon": "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z",
  "sun": "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400",
  "keyboard": "M3 6.500h18v11H3zM7 10h.01M10.500 10h.01M14 10h.01M17.500 10h.01M8 14h8",
  "arrow-up": "M12 19V5M6 11l6-6 6 6",
  "arrow-down": "M12 5v14M6 13l6 6 6-6",
  "stop": "M8 8h8v8H8z",
  "paperclip": "M20 11.500l-8 8a5 5 0 0 1-7-7l8.500-8.500a3.400 3.400 0 0 1 4.800 4.800L10 17a1.700 1.700 0 0 1-2.400-2.400l7.400-7.400",
  "screen": "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M8.500 12h7M12 8.500v7",
  "close": "M6 6l12 12M18 6L6 18",
  "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
  "check": "M5 12.500l4.500 4.500L19 7.500",
  "pencil": "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  "refresh": "M20 11a8 8 0 1 0-2.300 6.300M20 4v7h-7",
  "trash": "M4 7h16M9 7V4h6v3M6.500 7l1 13h9l1-13M10 11v5M14 11v5",
  "chevron": "M9 6l6 6-6 6",
  "file": "M6 3h8l4 4v14H6zM14 3v4h4",
  "film": "M3 5h18v14H3zM8 5v14M16 5v14M3 12h18",
  "expand": "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  "eye": "M2.500 12c2.600-4.300 5.800-6.500 9.500-6.500s6.900 2.200 9.500 6.500c-2.600 4.300-5.800 6.500-9.500 6.500S5.100 16.300 2.500 12zM12 9.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600z",
  "alert": "M12 8v5M12 16.500h.01M12 3l9.500 17h-19z",
};

/** @param {keyof typeof ICONS | string} name */
export function icon(name) {
  const image = svg("svg", {viewBox: "0 0 24 24", class: "glyph", "aria-hidden": "true", focusable: "false"});
  image.append(svg("path", {d: ICONS[/** @type {keyof typeof ICONS} */ (name)]}));
  return image;
}

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 */
export function svg(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

/**
 * An element: attributes, `onclick` and the like, `icon`; children are nodes or text, and nothing else is added.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "icon") made.prepend(icon(value));
    else if (value === true) made.setAttribute(name, "");
    else made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => /** @type {Node | string} */ (child)));
  return made;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  return document.getElementById(id);
}

/** Give the buttons of index.html their icons. */
export function drawIcons() {
  for (const one of document.querySelectorAll("[data-icon]")) setIcon(one, one.getAttribute("data-icon") ?? "");
}

/** @param {Element} element @param {string} name */
export function setIcon(element, name) {
  element.querySelector("svg.glyph")?.remove();
  element.prepend(icon(name));
}

/** Put text on the clipboard; also where the page came without TLS. @param {string} text */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = h("textarea", {class: "hidden", "aria-hidden": "true"});
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies, and says that it did. @param {string} name @param {() => string} text */
export function copyButton(name, text) {
  const button = h("button", {type: "button", class: "icon small-icon", "aria-label": name, title: name, icon: "copy"});
  button.addEventListener("click", async () => {
    await copyText(text());
    setIcon(button, "check");
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      setIcon(button, "copy");
      button.setAttribute("aria-label", name);
    }, 1600);
  });
  return button;
}

/** A short message at the edge, with at most one thing to do. @param {string} text @param {{label: string, act: () => void}} [action] */
export function toast(text, action) {
  const box = h("div", {class: "toast"}, h("span", {}, text));
  const leave = () => box.remove();
  if (action) {
    box.append(h("button", {type: "button", class: "link", onclick: () => { leave(); action.act(); }}, action.label));
  }
  byId("toasts").append(box);
  setTimeout(leave, action ? 8000 : 5000);
}

/** Document: a page's text to read, the page rebuilt as HTML, and files to take away; or a form filled from it. */
import {h} from "../dom.js";
import {face, facts, frame, prose, source, switched} from "./parts.js";

/** @type {import("../app_view.js").App} */
export const app = {
  name: "document",
  lead: "Turn a scan, a photo or a PDF into text, or fill a form from it.",
  takes: ["image", "document"],
  drop: "A picture or PDF of pages",
  accept: "image/*,application/pdf",
  verb: "Read",
  example: true,
  fields: [
    {name: "task", label: "What to make", kind: "choice", choices: [["text", "Text, HTML and a PDF to search"], ["fields", "A filled form"]]},
    {name: "fields", label: "Fields of the form", kind: "text", placeholder: "company, date, total", help: "Separated by commas.",
      isShown: (values) => values.task === "fields", isNeeded: (values) => values.task === "fields"},
    {name: "pages", label: "Pages", kind: "text", placeholder: "all, or 1-3, 7"},
    {name: "language", label: "Language", kind: "text", placeholder: "found by itself"},
    {name: "own_text", label: "Text that a PDF holds already", kind: "choice", choices: [["fallback", "Use it where reading fails"], ["prefer", "Prefer it"], ["never", "Never use it"]]},
  ],
  options: ({task, fields, ...rest}) => ({...rest, fields: task === "fields" ? fields : ""}),
  async draw({result, files, fetch}) {
    if (result.form) return [form(result.form)];
    const file = result.files[0];
    const path = (/** @type {string} */ end) => files.find((one) => one.path.endsWith(end))?.path ?? "";
    const text = async (/** @type {string} */ end) => (await fetch(path(end))).text();
    const told = facts([["Pages", file.num_pages], ["Not read", file.num_failed], ["From the PDF's own text", file.num_fallback]].filter(([, value], index) => index === 0 || Number(value) > 0));
    if (file.error) return [h("p", {class: "note"}, file.error)];
    return [
      h("section", {class: "app-part"}, h("h2", {}, file.name), told),
      switched("Show the document as", [
        ["Text", async () => {
          const shown = prose(await text(".md"));
          shown.classList.add("app-face");
          return shown;
        }],
        ["Page", async () => face(frame(await text(".html"), "The document as HTML"))],
        ["Markdown", async () => source(await text(".md"), "markdown")],
      ]),
    ];
  },
};

/** @param {any} form */
function form(form) {
  const rows = Object.entries(form.fields).map(([path, field]) => h("tr", {}, h("th", {scope: "row"}, path), h("td", {}, field.value === null ? "\u2013" : String(field.value)),
    h("td", {class: "small quiet"}, field.evidence ? `page ${field.evidence.page}: \u201c${field.evidence.text}\u201d` : field.problem || "found nowhere on the page")));
  return h("section", {class: "app-part"}, h("h2", {}, "The form"),
    h("div", {class: "table", tabindex: "0", role: "region", "aria-label": "The form"}, h("table", {}, h("thead", {}, h("tr", {}, ...["Field", "Value", "Where it stands"].map((name) => h("th", {scope: "col"}, name)))), h("tbody", {}, ...rows))),
    form.problems.length ? h("p", {class: "app-notes"}, form.problems.join("; ")) : null);
}

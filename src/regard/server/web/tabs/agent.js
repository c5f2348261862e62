/** Agent: a task done in the server's browser, where that is allowed; or a finished run's trace, step by step. */
import {h} from "../dom.js";
import {facts, picture} from "./parts.js";

/** @type {import("../app_view.js").App} */
export const app = {
  name: "agent",
  lead: "Have a task done in a browser that runs beside the server, and see each step.",
  takes: [],
  drop: "The files of a trace",
  accept: "",
  verb: "Start",
  fields: [
    {name: "task", label: "Task", kind: "area", placeholder: "Switch email alerts off and save", isNeeded: () => true},
    {name: "url", label: "Page to begin on", kind: "text", placeholder: "https://example.com", isNeeded: () => true},
    {name: "max_steps", label: "Steps at most", kind: "choice", value: "15", choices: [["5", "5"], ["15", "15"], ["30", "30"]]},
    {name: "phone", label: "As a phone", kind: "check"},
  ],
  options: ({max_steps: steps, ...rest}) => ({...rest, max_steps: Number(steps)}),
  async draw({result, files, fetch, open}) {
    const pictures = new Map();
    for (const {path} of files.filter((file) => file.path.endsWith(".png"))) pictures.set(path, await fetch(path));
    const name = (/** @type {string} */ inner) => [...pictures.keys()].find((path) => path === inner || path.endsWith(`/${inner}`));
    return film({task: result.task, steps: result.steps, status: result.status, reason: result.reason, answer: result.answer}, (inner) => pictures.get(name(inner)), open);
  },
  instead: ({open, show}) => {
    const picker = h("input", {type: "file", hidden: true, multiple: true, accept: ".jsonl,image/png", tabindex: "-1", "aria-hidden": "true"});
    const words = h("p", {class: "small wrong", role: "alert"});
    const take = async (/** @type {File[]} */ files) => {
      words.textContent = "";
      const trace = files.find((file) => file.name.endsWith(".jsonl"));
      if (!trace) {
        words.textContent = "There is no trace.jsonl among these files. Choose it together with the pictures beside it.";
        return;
      }
      try {
        const run = readTrace(await trace.text());
        show(film(run, (name) => files.find((file) => file.name === name), open));
      } catch {
        words.textContent = "This trace cannot be read: a line of it is no JSON.";
      }
    };
    picker.addEventListener("change", () => {
      void take([...picker.files]);
      picker.value = "";
    });
    const slot = h("button", {type: "button", class: "app-drop", icon: "film", onclick: () => picker.click()}, h("span", {}, "Look at a finished run"),
      h("span", {class: "small quiet"}, "Drop trace.jsonl and the pictures beside it, or choose them. They stay in this browser."));
    return {element: h("div", {class: "app-given"}, slot, picker, words), take: (files) => void take(files)};
  },
};

/** @param {string} text */
function readTrace(text) {
  const lines = text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
  const start = lines.find((line) => line.kind === "start") ?? {};
  const end = lines.find((line) => line.kind === "end") ?? lines.findLast((line) => line.status) ?? {};
  return {task: start.task ?? end.task ?? "", steps: lines.filter((line) => line.kind === "step"), status: end.status ?? "", reason: end.reason ?? "", answer: end.answer ?? null};
}

/** @param {{task: string, steps: any[], status: string, reason: string, answer: string | null}} run @param {(name: string) => Blob | undefined} pictureOf @param {(figure: HTMLElement, title: string) => void} open */
function film(run, pictureOf, open) {
  const frames = run.steps.map((step) => {
    const image = pictureOf(step.drawn || step.screenshot) ?? pictureOf(step.screenshot);
    const isDone = ["done", "finished"].includes(step.outcome);
    return h("li", {class: "app-frame"}, image ? picture(image, `Step ${step.number}: ${step.words || step.said}`, open) : null,
      h("div", {}, h("strong", {}, `${step.number}. ${step.said || step.words || "no action"}`), step.thought && h("p", {class: "small quiet"}, step.thought),
        step.words && h("p", {class: "small"}, step.target ? `${step.words}: ${step.target}` : step.words), !isDone && h("p", {class: "small wrong"}, `${step.outcome}: ${step.reason}`),
        step.changed === false && h("p", {class: "small quiet"}, "Nothing changed.")));
  });
  const status = {success: "Done", failure: "Not done", stopped: "Stopped"}[run.status] ?? "Unknown";
  return [
    h("section", {class: "app-part"}, h("h2", {}, run.task), facts([["Ended", status], ["Steps", run.steps.length]]), run.answer && h("p", {class: "app-answer"}, run.answer), run.reason && h("p", {class: "note"}, run.reason)),
    h("ol", {class: "app-film"}, ...frames),
  ];
}

/** Video: an answer about a clip, a line of what happens in it, and each time a click away. */
import {h} from "../dom.js";
import {linkTimes} from "../times.js";
import {urlOf} from "../media.js";
import {clock, facts, prose} from "./parts.js";

const CHECKED = {looked: "looked at twice", pixels: "the picture changes here", no: ""};

/** @type {import("../app_view.js").App} */
export const app = {
  name: "video",
  lead: "Ask about a clip of any length, and go to the moments that answer.",
  takes: ["video"],
  drop: "A clip",
  accept: "video/*,.mkv,.avi,.mov,.m4v,.flv,.wmv,.mpg",
  verb: "Watch",
  fields: [
    {name: "task", label: "What to do", kind: "choice", choices: [["summary", "Sum it up"], ["question", "Answer a question"], ["find", "Find something"], ["chapters", "Divide into chapters"], ["text", "Read text on the picture"]]},
    {name: "text", label: "Question, or what to find", kind: "area", placeholder: "When does the red circle appear?",
      isShown: ({task}) => ["question", "find"].includes(task), isNeeded: ({task}) => ["question", "find"].includes(task)},
    {name: "budget", label: "Effort", kind: "choice", value: "50000", choices: [["10000", "A quick look"], ["50000", "Normal"], ["200000", "Thorough"]]},
  ],
  options: ({task, text, budget}) => ({task, text: ["question", "find"].includes(task) ? text : "", budget: Number(budget)}),
  draw({result, given}) {
    const clip = h("video", {class: "app-clip", src: given ? urlOf(given) : "", controls: true, playsinline: true, preload: "metadata", "aria-label": `Clip ${result.source}`});
    const moments = [
      ...result.events.map((/** @type {any} */ one) => ({...one.span, text: one.text, more: CHECKED[/** @type {"looked"} */ (one.checked)]})),
      ...result.chapters.map((/** @type {any} */ one) => ({...one.span, text: one.summary ? `${one.title}. ${one.summary}` : one.title, more: ""})),
      ...result.texts.map((/** @type {any} */ one) => ({...one.span, text: one.text, more: ""})),
    ].sort((a, b) => a.start_s - b.start_s);
    const go = (/** @type {number} */ seconds) => {
      clip.currentTime = Math.min(seconds, clip.duration || seconds);
    };
    const answer = result.answer && !result.chapters.length && !result.texts.length ? prose(result.answer) : null;
    const line = h("div", {class: "app-line", role: "group", "aria-label": "What happens when"});
    const list = h("ul", {class: "app-events"});
    const whole = () => Number.isFinite(clip.duration) && clip.duration > 0 ? clip.duration : result.stretch.end_s ?? 1;
    const here = h("i", {"aria-hidden": "true"});
    const draw = () => {
      const length = whole();
      line.replaceChildren(...moments.map((moment, index) => {
        const end = moment.end_s ?? moment.start_s;
        const button = h("button", {type: "button", "data-moment": index, title: `${clock(moment.start_s)} ${moment.text}`, "aria-label": `Go to ${clock(moment.start_s)}: ${moment.text}`, onclick: () => go(moment.start_s)});
        button.style.left = `${(moment.start_s / length) * 100}%`;
        button.style.width = `calc(${(Math.max(0, end - moment.start_s) / length) * 100}% - 2px)`;
        return button;
      }), here);
      list.replaceChildren(...moments.map((moment, index) => h("li", {class: "app-event", "data-moment": index},
        h("span", {}, ...[moment.start_s, moment.end_s].filter((time) => time !== null && time !== undefined).flatMap((time, place) => [place ? " \u2013 " : "", h("a", {class: "time", href: `#t=${time}`, onclick: (/** @type {Event} */ event) => {
          event.preventDefault();
          go(time);
        }}, clock(time))])),
        h("p", {}, moment.text), h("span", {class: "small quiet"}, moment.more))));
      if (answer) linkTimes(answer, length, go);
    };
    draw();
    clip.addEventListener("loadedmetadata", draw);
    clip.addEventListener("timeupdate", () => {
      here.style.left = `${(clip.currentTime / whole()) * 100}%`;
      for (const one of [...line.children, ...list.children]) {
        const moment = moments[Number(one.getAttribute("data-moment") ?? -1)];
        if (moment) one.classList.toggle("lit", clip.currentTime >= moment.start_s - 0.05 && clip.currentTime < (moment.end_s ?? moment.start_s + 1));
      }
    });
    const {spent} = result;
    return [
      h("section", {class: "app-part"}, h("h2", {}, result.question || result.source), clip, moments.length ? line : null),
      answer && h("section", {class: "app-part"}, h("h2", {}, "Answer"), answer),
      moments.length > 0 && h("section", {class: "app-part"}, h("h2", {}, {chapters: "Chapters", text: "Text on the picture"}[/** @type {"text"} */ (result.task)] ?? "What happens"), list),
      !answer && !moments.length && h("p", {class: "note"}, "Nothing was found."),
      h("section", {class: "app-part"}, facts([["Questions to the model", spent.calls], ["Tokens", spent.tokens.toLocaleString("en")], ["Seconds", spent.seconds.toFixed(1)]]),
        spent.unseen ? h("p", {class: "app-notes"}, `${spent.unseen} changes of the picture were not looked at; more effort sees them.`) : null),
    ];
  },
};

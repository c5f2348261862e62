/** Tutor: hints one by one, and the worked solution with its checked steps when it is wanted. */
import {h, icon, svg} from "../dom.js";
import {pictureWithMarks, marksOf} from "../overlay.js";
import {urlOf} from "../media.js";
import {mended, prose} from "./parts.js";

const SAYS = {checked: "checked", wrong: "wrong", "not checkable": "not checkable"};

/** @type {import("../app_view.js").App} */
export const app = {
  name: "tutor",
  lead: "Hints for a problem on a picture, and a solution whose steps are checked by calculation.",
  takes: ["image"],
  drop: "A picture of the problem",
  accept: "image/*",
  verb: "Look at it",
  fields: [{name: "question", label: "What is asked", kind: "area", placeholder: "Find AC.", help: "Leave it empty if the picture says it."}],
  options: (values) => values,
  async draw({result, given}) {
    const {solution, hints} = result;
    return [await figure(solution, given), hintsOf(hints), solutionOf(solution)];
  },
};

/** @param {any} solution @param {File | null} given */
async function figure(solution, given) {
  const url = given ? urlOf(given) : "";
  const image = new Image();
  image.src = url;
  await image.decode().catch(() => {});
  const size = {width: image.naturalWidth || 1, height: image.naturalHeight || 1};
  const marks = marksOf([], solution.points.map((/** @type {any} */ point) => ({...point, image: 0})), 0);
  const drawn = pictureWithMarks(url, size, marks, "The figure");
  const drawing = drawn.querySelector("svg.marks");
  for (const {start, end} of solution.lines) {
    drawing?.prepend(svg("line", {x1: start.x, y1: start.y, x2: end.x, y2: end.y, class: "app-lines"}));
  }
  const told = (/** @type {string} */ name, /** @type {string[]} */ items) => items.length > 0 && h("div", {}, h("h2", {}, name), h("ul", {class: "app-given-list"}, ...items.map((one) => h("li", {}, one))));
  return h("section", {class: "app-part found"}, h("div", {class: "view"}, drawn), h("div", {class: "app-told"}, told("Given", solution.given), told("Asked", [solution.asked].filter(Boolean))));
}

/** @param {any[]} hints */
function hintsOf(hints) {
  let shown = 0;
  const list = h("div", {"aria-live": "polite"});
  const next = h("button", {type: "button", class: "button strong"}, "First hint");
  next.addEventListener("click", () => {
    const hint = hints[shown++];
    list.append(h("div", {class: "app-hint"}, h("p", {class: "small quiet"}, `Hint ${hint.number} of ${hint.total}`), prose(hint.text)));
    const left = hints[shown];
    next.hidden = !left;
    next.textContent = left?.is_last ? "Last hint: tells the answer" : "Next hint";
  });
  return h("section", {class: "app-part app-hints"}, h("h2", {}, "Hints"), list, h("div", {class: "row"}, next));
}

/** @param {any} solution */
function solutionOf(solution) {
  const steps = solution.steps.map((/** @type {any} */ step) => h("li", {class: "app-step"}, mark(step.verdict),
    h("div", {}, prose(step.text), step.reason && h("p", {class: "small quiet"}, step.reason), step.note && step.verdict === "wrong" && h("p", {class: "small wrong"}, step.note))));
  const body = h("div", {hidden: true}, h("ol", {class: "app-steps"}, ...steps),
    h("div", {class: "app-answer row"}, mark(solution.answer_verdict), h("div", {}, h("strong", {}, "Answer: "), solution.answer, solution.answer_note && h("p", {class: "small"}, solution.answer_note))),
    solution.mistakes.length > 0 && h("div", {class: "note"}, h("h2", {}, "Typical mistakes"), h("ul", {}, ...solution.mistakes.map((/** @type {string} */ one) => h("li", {}, one)))),
    solution.was_retried && h("p", {class: "app-notes"}, "A step was wrong at first; this is the better of two solutions."), mended(solution.repairs));
  const show = h("button", {type: "button", class: "button", "aria-expanded": "false"}, "Show the solution");
  show.addEventListener("click", () => {
    body.hidden = !body.hidden;
    show.setAttribute("aria-expanded", String(!body.hidden));
    show.textContent = body.hidden ? "Show the solution" : "Hide the solution";
  });
  return h("section", {class: "app-part"}, h("h2", {}, "Solution"), show, body);
}

/** @param {"checked" | "wrong" | "not checkable"} verdict */
function mark(verdict) {
  const sign = verdict === "checked" ? icon("check") : verdict === "wrong" ? icon("close") : "?";
  return h("span", {class: `app-mark ${verdict.replace(" ", "-")}`, role: "img", "aria-label": SAYS[verdict], title: SAYS[verdict]}, sign);
}

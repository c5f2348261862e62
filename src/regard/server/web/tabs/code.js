/** Code: a picture of a page becomes HTML; the picture, the page and what differs are shown in turn. */
import {h} from "../dom.js";
import {face, facts, frame, mended, picture, source, switched} from "./parts.js";

const ORIGINS = {answer: "The model's own HTML", elements: "From elements that the model listed", segmentation: "From parts found in the pixels, with words that the model read"};

/** @type {import("../app_view.js").App} */
export const app = {
  name: "code",
  lead: "Turn a picture of a page into HTML and CSS that look like it.",
  takes: ["image"],
  drop: "A screenshot or drawing of a page",
  accept: "image/*",
  verb: "Write the page",
  example: true,
  fields: [
    {name: "rounds", label: "Rounds of improvement", kind: "choice", choices: [["", "As many as suit the model"], ["0", "None"], ["1", "1"], ["3", "3"], ["5", "5"]]},
    {name: "scale", label: "The picture comes from", kind: "choice", choices: [["1", "An ordinary screen"], ["2", "A screen with twice the pixels"], ["3", "A phone with three times the pixels"]]},
  ],
  options: ({rounds, scale}) => ({...(rounds === "" ? {} : {rounds: Number(rounds)}), scale: Number(scale)}),
  draw({result, given, fetch, open}) {
    const shown = (/** @type {string} */ file, /** @type {string} */ alt) => async () => face(picture(await fetch(file), alt, open));
    const {scores, first} = result;
    const score = (/** @type {number | null | undefined} */ value) => value === null || value === undefined ? "\u2013" : value.toFixed(2);
    const rows = result.steps.map((/** @type {any} */ step) => h("tr", {}, h("th", {scope: "row"}, step.kind), h("td", {class: "number"}, score(step.scores?.total)),
      h("td", {}, step.is_kept ? "kept" : step.note || "not better")));
    return [
      h("section", {class: "app-part"}, h("h2", {}, "How near it is"), facts([["Alike", score(scores.total)], ["At first", score(first.total)], ["Text", score(scores.text)], ["Place", score(scores.position)], ["Colour", score(scores.color)]]),
        h("p", {class: "app-notes"}, `${ORIGINS[/** @type {"answer"} */ (result.source)]}. 1 is the same as the picture.`)),
      switched("Show", [
        ["Page", shown("after.png", "The page as a browser draws it")],
        ["Picture", async () => face(picture(/** @type {File} */ (given), "The picture that was given", open))],
        ["Difference", shown("difference.png", "What differs: red only in the picture, blue only in the page")],
        ["First version", shown("before.png", "The first version")],
        ["Live", () => face(frame(result.html, "The page itself"))],
        ["HTML", () => source(result.html, "html")],
      ]),
      h("section", {class: "app-part"}, h("h2", {}, "Versions"), h("div", {class: "table"}, h("table", {}, h("thead", {}, h("tr", {}, ...["Version", "Alike", ""].map((name) => h("th", {scope: "col"}, name)))), h("tbody", {}, ...rows))), mended(result.repairs)),
    ];
  },
};

/** Locate: boxes or points of what is named, on the picture and in a list. */
import {h} from "../dom.js";
import {legend, linkMarks, marksOf, pictureWithMarks} from "../overlay.js";
import {urlOf} from "../media.js";
import {facts, mended} from "./parts.js";

/** @type {import("../app_view.js").App} */
export const app = {
  name: "locate",
  lead: "Name things, and see where they are on a picture.",
  takes: ["image"],
  drop: "A picture",
  accept: "image/*",
  verb: "Locate",
  example: true,
  fields: [
    {name: "what", label: "What to look for", kind: "text", placeholder: "Save button, switch", help: "Several things are separated by commas.", isNeeded: () => true},
    {name: "form", label: "Mark them with", kind: "choice", choices: [["boxes", "Boxes"], ["points", "Points"]]},
    {name: "every", label: "All of them, not only one", kind: "check", value: true},
    {name: "zoom", label: "Look closer at small things", kind: "check"},
    {name: "count", label: "Ask the model to count, too", kind: "check"},
    {name: "relations", label: "Tell how they stand to each other", kind: "check"},
  ],
  options: (values) => values,
  draw({result, given, open}) {
    const at = (/** @type {any[]} */ places) => places.map((place) => ({...place, image: 0}));
    const marks = marksOf(at(result.boxes), at(result.points), 0);
    const size = {width: result.width, height: result.height};
    const draw = () => pictureWithMarks(given ? urlOf(given) : null, size, marks, result.image);
    const enlarge = h("button", {type: "button", class: "icon enlarge", "aria-label": `Enlarge ${result.image}`, icon: "expand"});
    enlarge.addEventListener("click", () => open(draw(), result.image));
    const found = h("figure", {class: "found"}, h("div", {class: "view"}, draw(), enlarge), marks.length ? legend(marks) : h("p", {class: "note"}, "Nothing like it was found."));
    const root = h("section", {class: "app-part"}, h("h2", {}, "Where it is"), found, mended(result.repairs));
    linkMarks(root);
    const counts = result.counts.map((/** @type {any} */ one) => [one.label, one.told === null ? one.found : `${one.found} found, ${one.told} counted`]);
    const relations = result.relations.map((/** @type {{text: string}} */ one) => h("li", {}, one.text));
    return [root, counts.length > 0 && h("section", {class: "app-part"}, h("h2", {}, "How many"), facts(counts)),
      relations.length > 0 && h("section", {class: "app-part"}, h("h2", {}, "How they stand"), h("ul", {class: "app-given-list"}, ...relations))];
  },
};

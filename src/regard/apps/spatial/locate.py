"""`locate`: from a picture and words to places.

    found = locate(chat, "street.jpg", ["car", "bus"], every=True)

1. The picture is one view, or several tiles if it is much longer than wide (`views`).
2. Each view is asked about with the family's own sentences (`prompts`), bound to their form where the model takes a
   grammar, read forgivingly, and its numbers become pixels of the user's picture (`processing.coordinates`).
3. What a loop repeated and what two tiles both saw is put together (`merging`).
4. With `zoom`, small things are looked at again in an enlarged part around them; if nothing was found, the model is
   offered its zoom tool and asked about the part that it chose (`zoom`), and if it chooses none about four quarters.
5. On request the model also counts, and says of overlapping things which is in front.

It does not track things over frames, and it does not give masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image as Pillow

from regard.apps.asking import Asked, ask
from regard.apps.reading import Read, read_choice, read_items
from regard.apps.result import Box2D, Point2D, Progress
from regard.apps.spatial import merging, prompts
from regard.apps.spatial.camera import Camera
from regard.apps.spatial.located import Count, Located, Occlusion, SpaceBox
from regard.apps.spatial.names import own_label
from regard.apps.spatial.views import View, around, tiles_of, whole
from regard.apps.spatial.zoom import look_closer
from regard.client import Chat
from regard.errors import ConfigError, InputError
from regard.messages import Image, Message, Text
from regard.processing import coordinates
from regard.processing.fetch import source_name
from regard.processing.image import load_image
from regard.reply import Reply
from regard.sampling_params import Structure

SMALL = 1 / 64  # of the picture's area: smaller things get a second look
MAX_SECOND_LOOKS = 20
MAX_OCCLUSIONS = 10
COVERING = 0.1  # of the smaller box: from here on one of two things may cover the other
_PLACES = {"bbox_2d", "point_2d", "bbox_3d", "bbox", "box_2d", "box", "box_3d", "point", "points"}
_SAID = {"label", "name", "name_en", "name_zh", "names", "text_content"}


def locate(
    chat: Chat,
    image: Any,
    what: str | Sequence[str],
    *,
    points: bool = False,
    three_d: bool = False,
    every: bool = False,
    attributes: Sequence[str] = (),
    camera: Camera | str | None = None,
    zoom: bool = False,
    tiles: str = "auto",
    count: bool = False,
    relations: bool = False,
    occlusion: bool = False,
    confidence: bool = False,
    strict: bool = False,
    grammar: bool = True,
    attempts: int = 3,
    preset: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Located:
    """Find `what` (one description, or several categories) on a picture.

    points      points instead of boxes
    three_d     boxes in space; `camera` (None: estimated) as `Camera` or in `Camera.parse`'s words
    every       all instances; several categories mean all anyway
    attributes  what else to tell of each thing, such as "color"
    zoom        a second, closer look at small things and where nothing was found
    tiles       "auto", "off" or columns and rows as in "3x2"
    count       ask the model as well how many there are
    relations   tell how the things lie to each other, from their boxes; occlusion: ask which of two is in front
    confidence  how sure the model was of each box, 0 to 1; not every server tells
    strict      leave out what is labelled as something that was not asked for
    grammar     bind the answer's form where the model takes one
    `options` are those of `Chat.chat`. Errors: InputError for a picture or words that cannot be used, ConfigError for
    options that do not go together; as `Chat.chat`.
    """
    names = names_of(what)
    if points and three_d:
        raise ConfigError("points and three_d exclude each other; leave one out")
    if camera is not None and not three_d:
        raise ConfigError("camera places boxes in space; ask for them with three_d, or leave it out")
    if occlusion and (points or three_d):
        raise ConfigError("occlusion needs boxes on the picture; leave out points and three_d")
    picture = load_image(image)
    looker = _Looker(
        chat=chat,
        picture=picture,
        names=names,
        key="bbox_3d" if three_d else "point_2d" if points else "bbox_2d",
        every=every or len(names) > 1,
        attributes=tuple(attributes),
        uses_grammar=grammar,
        asking={"attempts": attempts, "preset": preset, **options, **({"num_logprobs": 0} if confidence else {})},
        on_progress=on_progress,
    )
    views = tiles_of(picture.size, "off" if three_d else tiles)
    made: dict[str, Any] = {}
    if three_d:
        lens = Camera.parse(camera, *picture.size) if isinstance(camera, str) else camera
        lens = lens or Camera.estimated(*picture.size)
        made = {"camera": lens, "space_boxes": tuple(SpaceBox.of(b, lens, picture.size) for b in looker.in_space())}
    elif points:
        made["points"] = tuple(looker.points(views, zoom=zoom))
    else:
        made["boxes"] = tuple(looker.boxes(views, zoom=zoom))
    if strict:
        made |= {key: looker.asked_for(places) for key, places in made.items() if key != "camera"}
    places = next(value for key, value in made.items() if key != "camera")
    made["counts"] = tuple(looker.counts(places, told=count))
    if occlusion:
        made["occlusions"] = tuple(looker.occlusions(places))
    located = Located(
        image=source_name(image),
        width=picture.width,
        height=picture.height,
        what=names,
        num_views=len(views),
        num_questions=looker.num_questions,
        repairs=tuple(dict.fromkeys(looker.repairs)),
        model=chat.name,
        **made,
    )
    if relations:
        located = located.model_copy(update={"relations": located.related()})
    located._picture = picture
    return located


def names_of(what: str | Sequence[str]) -> tuple[str, ...]:
    """The categories: one description is one, a sequence several. Errors: InputError if there is none."""
    names = (what,) if isinstance(what, str) else tuple(what)
    names = tuple(dict.fromkeys(" ".join(name.split()).rstrip(".") for name in names))
    if not names or not all(names):
        raise InputError("nothing to look for; say what, as in 'red cup'")
    return names


@dataclass
class _Looker:
    """One call of `locate`: asks about views and remembers what was mended."""

    chat: Chat
    picture: Pillow.Image
    names: tuple[str, ...]
    key: str
    every: bool
    attributes: tuple[str, ...]
    uses_grammar: bool
    asking: dict[str, Any]
    on_progress: Callable[[Progress], None] | None

    def __post_init__(self) -> None:
        self.repairs: list[str] = []
        self.num_questions = 0
        self.scale = coordinates.scale_of(self.chat.name)

    def boxes(self, views: Sequence[View], *, zoom: bool) -> list[Box2D]:
        """All boxes, in pixels of the whole picture."""
        found = []
        for number, view in enumerate(views):
            self._tell(number, len(views), "looking" if len(views) == 1 else f"looking at tile {number + 1}")
            found.append((view, self._boxes_of(view)))
        boxes = found[0][1] if len(found) == 1 else merging.merged_tiles(found, self.picture.size)
        if zoom and not boxes:
            closer = self._views_closer()
            boxes = merging.merged_tiles([(view, self._boxes_of(view)) for view in closer], self.picture.size)
        elif zoom:
            area = self.picture.width * self.picture.height
            small = [number for number, box in enumerate(boxes) if box.area < area * SMALL][:MAX_SECOND_LOOKS]
            for done, number in enumerate(small):
                self._tell(done, len(small), f"looking closer at {boxes[number].label}")
                boxes[number] = self._second_look(boxes[number])
        return boxes

    def points(self, views: Sequence[View], *, zoom: bool) -> list[Point2D]:
        """All points, in pixels of the whole picture."""
        found = []
        for number, view in enumerate(views):
            self._tell(number, len(views), "looking" if len(views) == 1 else f"looking at tile {number + 1}")
            found += self._points_of(view)
        if zoom and not found:
            found = [point for view in self._views_closer() for point in self._points_of(view)]
        kept, notes = merging.without_repeated_points(found, apart_px=max(self.picture.size) / 250)
        self.repairs += notes
        return kept

    def in_space(self) -> list[coordinates.Box3D]:
        """All boxes in space; one question for each category."""
        found = []
        for number, name in enumerate(self.names):
            self._tell(number, len(self.names), f"looking for {name}")
            items, _, _ = self._items(whole(self.picture.size), prompts.space_prompt(name), (name,))
            found += coordinates.boxes_3d([item | {"label": self._label(item, (name,))} for item in items])
        kept, notes = merging.without_repeated_spaces(found)
        self.repairs += notes
        return kept

    def asked_for(self, places: Sequence[Any]) -> tuple[Any, ...]:
        """The places with a label that was asked for."""
        kept = tuple(place for place in places if place.label in self.names)
        if len(kept) < len(places):
            self.repairs.append(f"left out {len(places) - len(kept)} that were not asked for")
        return kept

    def counts(self, places: Sequence[Any], *, told: bool) -> list[Count]:
        """How many of each category; with `told` the model is asked as well."""
        made = []
        for name in self.names:
            number = sum(place.label == name or len(self.names) == 1 for place in places)
            answer = self._ask(whole(self.picture.size), prompts.count_prompt(name), _read_count) if told else None
            made.append(Count(label=name, found=number, told=None if answer is None else answer.value))
        return made

    def occlusions(self, boxes: Sequence[Box2D]) -> list[Occlusion]:
        """Which of two overlapping things is in front, as the model sees it."""
        made: list[Occlusion] = []
        pairs = [(a, b) for a in range(len(boxes)) for b in range(a + 1, len(boxes))]
        for a, b in pairs:
            shared = merging.intersection(boxes[a], boxes[b])
            if len(made) == MAX_OCCLUSIONS or shared < COVERING * min(boxes[a].area, boxes[b].area):
                continue
            first, second = boxes[a], boxes[b]
            union = (
                min(first.x1, second.x1),
                min(first.y1, second.y1),
                max(first.x2, second.x2),
                max(first.y2, second.y2),
            )
            view = around(union, self.picture.size, times=1.2)
            asked = self._ask(view, prompts.front_prompt(*_told_apart(first, second)), _read_front, _FRONT)
            if asked.value is not None:
                front, behind = (a, b) if asked.value == "A" else (b, a)
                made.append(Occlusion(front=front, behind=behind, covered=min(1.0, shared / boxes[behind].area)))
        return made

    def _boxes_of(self, view: View) -> list[Box2D]:
        prompt = prompts.boxes_prompt(self.names, every=self.every, attributes=self.attributes)
        return self._read_boxes(view, prompt, self.names)

    def _read_boxes(self, view: View, prompt: str, names: Sequence[str]) -> list[Box2D]:
        items, seen_size, sure = self._items(view, prompt, names)
        found: list[Box2D] = []
        for item in items:
            for box in coordinates.boxes([item], view.size, self.scale, seen_size=seen_size):
                left, top = view.left, view.top
                found.append(
                    Box2D(
                        x1=box.x1 + left,
                        y1=box.y1 + top,
                        x2=box.x2 + left,
                        y2=box.y2 + top,
                        label=self._label(item, names),
                        confidence=sure[len(found)] if len(found) < len(sure) else None,
                        extra=_extra(item),
                    )
                )
        kept, notes = merging.without_repeats(found)
        self.repairs += notes
        return kept

    def _points_of(self, view: View) -> list[Point2D]:
        prompt = prompts.points_prompt(self.names, every=self.every, attributes=self.attributes)
        items, seen_size, _ = self._items(view, prompt, self.names)
        found = []
        for item in items:
            label, extra = self._label(item, self.names), _extra(item)
            places = [(p.x, p.y) for p in coordinates.points([item], view.size, self.scale, seen_size=seen_size)]
            if not places:  # a box where a point was asked for: its middle
                boxes = coordinates.boxes([item], view.size, self.scale, seen_size=seen_size)
                places = [((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2) for box in boxes]
            found += [Point2D(x=x + view.left, y=y + view.top, label=label, extra=extra) for x, y in places]
        return found

    def _second_look(self, box: Box2D) -> Box2D:
        """The box as it is seen in an enlarged part around it; as it was, if nothing like it is seen there."""
        view = around((box.x1, box.y1, box.x2, box.y2), self.picture.size)
        name = box.label or self.names[0]
        again = self._read_boxes(view, prompts.boxes_prompt((name,), every=False), (name,))
        likely = max(again, key=lambda other: merging.iou(box, other), default=None)
        if likely is None or not merging.iou(box, likely):
            return box
        return box.model_copy(update={"x1": likely.x1, "y1": likely.y1, "x2": likely.x2, "y2": likely.y2})

    def _views_closer(self) -> list[View]:
        """Where to look when nothing was found: where the model wants to, else at the four quarters."""
        self._tell(0, 0, "nothing found, looking closer")
        asking = {key: value for key, value in self.asking.items() if key != "attempts"}
        views, replies = look_closer(self.chat, self.picture, " or ".join(self.names), self.scale, **asking)
        self.num_questions += len(replies)
        return views[-1:] or tiles_of(self.picture.size, "2x2" if min(self.picture.size) > 1 else "off")

    def _items(
        self, view: View, prompt: str, names: Sequence[str]
    ) -> tuple[list[dict[str, Any]], tuple[int, int] | None, list[float | None]]:
        """The objects that the model tells of a view, the size in which it saw it, and how sure it was of each box."""
        bound = prompts.places_grammar(self.key, names, attributes=self.attributes) if self.uses_grammar else None
        asked = self._ask(view, prompt, _read_places, bound)
        if asked.value is None:
            self.repairs.append("the answer names no place")
        return asked.value or [], _seen_size(asked.reply), [box.confidence for box in asked.reply.boxes]

    def _ask(
        self, view: View, prompt: str, read: Callable[[Reply], Read[Any] | None], bound: Structure | None = None
    ) -> Asked[Any]:
        message = Message("user", (Image(view.cut(self.picture)), Text(prompt)))
        asked: Asked[Any] = ask(self.chat, [message], read, grammar=bound, **self.asking)
        self.num_questions += asked.num_attempts
        self.repairs += asked.repairs
        return asked

    def _label(self, item: dict[str, Any], names: Sequence[str]) -> str:
        return own_label(coordinates.label_of(item), names)

    def _tell(self, done: int, total: int, text: str) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(done, total, text))


def _read_places(reply: Reply) -> Read[list[dict[str, Any]]] | None:
    """The objects of an answer; an empty list is an answer, words without a place are none."""
    found = read_items(reply.text)
    items = [item for item in found.value if _PLACES & item.keys()]
    return Read(items, found.repairs) if items or "[]" in "".join(reply.text.split()) else None


_FRONT = Structure("choice", ["A", "B"])


def _read_front(reply: Reply) -> Read[str | None]:
    return read_choice(reply.text, ["A", "B"])


def _told_apart(first: Box2D, second: Box2D) -> tuple[str, str]:
    """What two things are called in one question: where both have one name, with their sides."""
    if first.label != second.label:
        return first.label, second.label
    sides = ("left", "right") if first.center[0] <= second.center[0] else ("right", "left")
    return f"{first.label} on the {sides[0]}", f"{second.label} on the {sides[1]}"


def _read_count(reply: Reply) -> Read[int] | None:
    number = read_count(reply.text)
    return None if number is None else Read(number)


_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def read_count(text: str) -> int | None:
    """The first number of an answer, in digits or words to twelve; "no" and "none" are 0."""
    for word in text.lower().replace(",", " ").split():
        bare = word.strip(".:;!*()[]\"'")
        if bare.isascii() and bare.isdigit() and len(bare) < 7:
            return int(bare)
        if bare in _WORDS:
            return _WORDS.index(bare)
        if bare in ("no", "none"):
            return 0
    return None


def _extra(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in _PLACES | _SAID}


def _seen_size(reply: Reply) -> tuple[int, int] | None:
    pictures = [media for media in reply.media if media.kind == "image"]
    return (pictures[-1].resized_width, pictures[-1].resized_height) if pictures else None

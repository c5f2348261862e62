"""A picture of a page becomes a page: write, draw, compare, improve, keep the best.

    page = mockup_to_code(chat, "mockup.png")
    page.result.html, page.result.scores.total, page.result.source
    page.save("out")

1. Grounds, lines and pictures are found in the pixels (`sight`); the model reads the lines (`words`).
2. The model writes the page. If its answer has no page, it lists elements with boxes; if that fails too, the parts
   that were found in the pixels are put together. Which it was is `result.source`.
3. The page is drawn in a sandbox (`render`) and compared (`compare`).
4. It is measured into place (`fit`): colours, letters, sizes and margins, until that no longer helps. A page of the
   model's that is still far from the mock-up (`FAR`) has to beat the one that is put together.
5. Larger models are shown what differs and write it again, until two answers in a row are no better.

A version is kept if its score is higher than that of the best one so far, so the result is never worse than the first.
The score believes the words that the model read; a page made of those words has an advantage over one that says what
the mock-up really says, where the model misreads it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, cast

from PIL import Image

from regard.apps.asking import ask
from regard.apps.coding import fit
from regard.apps.coding.compare import Block, Comparison, Scores, blocks_of_page, blocks_of_sight, compare
from regard.apps.coding.draft import (
    FOLDER,
    Draft,
    draft_of_answer,
    has_content,
    stylesheet,
    with_pictures,
    with_targets,
)
from regard.apps.coding.layout import assemble
from regard.apps.coding.palette import palette
from regard.apps.coding.parts import parts_of_list, parts_of_sight
from regard.apps.coding.prompts import CHART, ELEMENTS, page_prompt, revision, scores_text
from regard.apps.coding.render import PageError, Rendered, Renderer
from regard.apps.coding.result import ChartResult, CodedPage, MockupResult, Source, Step
from regard.apps.coding.sight import Sight, look
from regard.apps.coding.words import is_small, read_lines
from regard.apps.reading import Read, read_code, read_html, read_items
from regard.apps.result import Box2D, Progress
from regard.client import Chat
from regard.errors import ConfigError, InputError, RegardError
from regard.processing.coordinates import boxes, scale_of
from regard.processing.image import load_image
from regard.reply import Reply

ROUNDS = 3  # revisions that larger models are asked for at most
PATIENCE = 2  # answers in a row that are no better
FAR = 0.9  # total score below which the page put together from the pixels is tried beside the model's
MEASURES = 5  # times a page is measured into place at most
RISE = 0.0005
ADVANTAGE = 0.03  # of a page that consists of the words that the model read: it must be better by more than this
MIN_PARTS = 2
MAX_PIXELS = 12_000_000
FONTS = (  # beside the stylesheet's own, the system's
    'Arial, "Liberation Sans", Helvetica, sans-serif',
    'Georgia, "Liberation Serif", "Times New Roman", serif',
)
OnProgress = Callable[[Progress], None]


@dataclass
class _Version:
    draft: Draft
    drawn: Rendered
    comparison: Comparison

    @property
    def total(self) -> float:
        return self.comparison.scores.total


@dataclass
class _Work:
    """Everything that stays the same while one mock-up is worked on, and the steps so far."""

    chat: Chat
    renderer: Renderer
    mockup: Image.Image
    scale: float
    sight: Sight
    texts: list[str]
    wanted: list[Block]
    names: list[str]
    assets: dict[str, Image.Image]
    variables: dict[str, str]
    on_progress: OnProgress | None
    steps: list[Step] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)

    def draw(self, draft: Draft) -> _Version:
        """Errors: PageError."""
        width = round(self.mockup.width / self.scale)
        height = round(self.mockup.height / self.scale)
        page = self.renderer.render(
            draft.html(self.assets), width=width, scale=self.scale, min_height=height, max_height=4 * height + 400
        )
        return _Version(draft, page, compare(self.wanted, self.mockup, blocks_of_page(page), page.image, by_place=True))

    def tell(self, text: str) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(len(self.steps), 0, text))

    def note(self, kind: str, scores: Scores | None, is_kept: bool, note: str = "") -> None:
        self.steps.append(Step(kind=cast(Any, kind), scores=scores, is_kept=is_kept, note=note))
        self.tell(f"{kind}: {scores_text(scores) if scores else note}")


def mockup_to_code(
    chat: Chat,
    mockup: Any,
    *,
    rounds: int | None = None,
    scale: float = 1.0,
    renderer: Renderer | None = None,
    on_progress: OnProgress | None = None,
    preset: str | None = None,
    **options: Any,
) -> CodedPage:
    """Make a responsive page of HTML and CSS that looks like a picture of a page.

    `mockup` as `load_image` takes it; `rounds`: revisions to ask for, by default `ROUNDS`, none of the bundled model,
    which was not taught them; `scale`: pixels of the picture per CSS pixel (2 for screenshots of HiDPI screens);
    `options` as `Chat.chat`. Errors: InputError, ConfigError, whatever the model or Chromium runs into.
    """
    picture = load_image(mockup)
    _check(picture, scale, rounds)
    chat.check_options(preset, **options)
    with ExitStack() as stack:
        drawer = renderer if renderer is not None else stack.enter_context(Renderer())
        work = _prepare(chat, picture, scale, drawer, on_progress)
        first = _first(work, preset, options)
        best = _measured(work, first)
        if best.total < FAR and first.draft.source != "segmentation":
            best = _segmented(work, best)
        if rounds is None:
            rounds = 0 if is_small(chat) else ROUNDS
        best = _revised(work, best, rounds, preset, options)
        return _finished(work, first, best)


def _check(picture: Image.Image, scale: float, rounds: int | None) -> None:
    if not 0.5 <= scale <= 4:
        raise ConfigError(f"scale is {scale:g}; it must be from 0.5 to 4 pixels of the picture per CSS pixel")
    if rounds is not None and not 0 <= rounds <= 20:
        raise ConfigError(f"rounds is {rounds}; it must be from 0 to 20")
    if picture.width * picture.height > MAX_PIXELS or min(picture.size) < 32:
        raise InputError(
            f"the mock-up has {picture.width}x{picture.height} pixels; it must have at least 32 a side and at most "
            f"{MAX_PIXELS} in all; cut it or make it smaller"
        )


def _prepare(
    chat: Chat, picture: Image.Image, scale: float, renderer: Renderer, on_progress: OnProgress | None
) -> _Work:
    sight = look(picture)
    texts = read_lines(chat, picture, sight, on_progress)
    names = [f"{FOLDER}/picture-{number}.png" for number in range(1, len(sight.pictures) + 1)]
    assets = {name: picture.crop(box) for name, box in zip(names, sight.pictures, strict=True)}
    variables = palette(sight, parts_of_sight(sight, texts))
    wanted = blocks_of_sight(sight, texts)
    return _Work(chat, renderer, picture, scale, sight, texts, wanted, names, assets, variables, on_progress)


def _first(work: _Work, preset: str | None, options: dict[str, Any]) -> _Version:
    """The first version that can be drawn: the model's page, its elements, the parts found in the pixels."""
    reasons = []
    for kind, make in (("answer", _answered), ("elements", _listed), ("segmentation", _put_together)):
        work.tell(f"first version: {kind}")
        draft = make(work, preset, options)
        if draft is None:
            work.note(kind, None, False, "the answer holds no page" if kind == "answer" else "no elements were found")
            continue
        try:
            version = _with_pictures(work, work.draw(draft))
        except PageError as error:
            work.note(kind, None, False, str(error))
            reasons.append(str(error))
            continue
        work.note(kind, version.comparison.scores, True)
        return version
    raise RegardError(f"no page could be made of this picture: {'; '.join(reasons) or 'nothing was found on it'}")


def _answered(work: _Work, preset: str | None, options: dict[str, Any]) -> Draft | None:
    prompt = page_prompt(round(work.mockup.width / work.scale), is_small=is_small(work.chat))
    asked = ask(work.chat, [work.mockup, prompt], read_page, attempts=2, preset=preset, **options)
    work.repairs += asked.repairs
    return None if asked.value is None else draft_of_answer(asked.value, "answer", work.variables)


def read_page(reply: Reply) -> Read[str] | None:
    """The page in an answer, closed where it was cut; None if there is none that shows anything."""
    block = read_code(reply.text, "html")
    page = read_html(block.value) if block.value else block
    if not page.value or not has_content(page.value):
        return None
    return Read(page.value, (*block.repairs, *page.repairs))


def _listed(work: _Work, preset: str | None, options: dict[str, Any]) -> Draft | None:
    size = work.mockup.size

    def read(reply: Reply) -> Read[list[dict[str, Any]]] | None:
        items = read_items(reply.text)
        placed = []
        for item in items.value:
            found = boxes([item], size, scale_of(work.chat.name))
            if found:
                placed.append({**item, "box": (found[0].x1, found[0].y1, found[0].x2, found[0].y2)})
        return Read(placed, items.repairs) if len(parts_of_list(placed, size)) >= MIN_PARTS else None

    asked = ask(work.chat, [work.mockup, ELEMENTS], read, attempts=1, preset=preset, **options)
    if asked.value is None:
        return None
    work.repairs += asked.repairs
    page = assemble(parts_of_list(asked.value, size), size, work.names)
    return _laid_out(work, page.root, page.targets, "elements")


def _put_together(work: _Work, preset: str | None, options: dict[str, Any]) -> Draft:
    page = assemble(parts_of_sight(work.sight, work.texts), work.mockup.size, work.names)
    return _laid_out(work, page.root, page.targets, "segmentation")


def _laid_out(work: _Work, root: Any, targets: dict[int, fit.Target], source: str) -> Draft:
    return Draft(root, source, stylesheet("layout.css"), work.variables, targets, fit.start(targets, work.scale))


def _with_pictures(work: _Work, version: _Version) -> _Version:
    """The version with the mock-up's pictures in it. Errors: PageError."""
    draft = with_pictures(version.draft, version.drawn, work.sight, work.names)
    return work.draw(draft) if draft.targets.keys() != version.draft.targets.keys() else version


def _segmented(work: _Work, best: _Version) -> _Version:
    """The page put together from the pixels, if it is better by more than its `ADVANTAGE`."""
    draft = _put_together(work, None, {})
    try:
        rival = _measured(work, work.draw(draft), is_told=False)
    except PageError as error:
        work.note("segmentation", None, False, str(error))
        return best
    is_better = rival.total > best.total + ADVANTAGE
    work.note("segmentation", rival.comparison.scores, is_better)
    return rival if is_better else best


def _measured(work: _Work, best: _Version, *, is_told: bool = True) -> _Version:
    """Move, size and colour what is there until that no longer helps."""
    current, num_worse = best, 0
    for number in range(MEASURES):
        draft = current.draft
        if draft.source in ("answer", "revision"):
            draft = with_targets(draft, current.drawn, current.comparison, work.sight)
        styles = fit.sizes(draft.targets, draft.styles, current.drawn, work.scale) if number < 3 else draft.styles
        styles = fit.places(draft.targets, styles, current.drawn, work.scale)
        try:
            current = work.draw(replace(draft, styles=styles))
            if number == 1 and not draft.has_own_css:
                current = _better_font(work, current)
        except PageError:
            break
        is_better = current.total > best.total + RISE
        if is_told:
            work.note("measured", current.comparison.scores, is_better)
        best, num_worse = (current, 0) if is_better else (best, num_worse + 1)
        if num_worse >= PATIENCE:
            break
    return best


def _better_font(work: _Work, version: _Version) -> _Version:
    """The version in the letters of `FONTS` that look most like the mock-up's. Errors: PageError."""
    best = version
    for font in FONTS:
        other = work.draw(replace(version.draft, variables={**version.draft.variables, "font": font}))
        if other.comparison.scores.ssim > best.comparison.scores.ssim + 0.003:
            best = other
    return best


def _revised(work: _Work, best: _Version, rounds: int, preset: str | None, options: dict[str, Any]) -> _Version:
    """Show the model what differs and keep what is better."""
    num_worse = 0
    for number in range(rounds):
        if num_worse >= PATIENCE:
            break
        work.tell(f"revision {number + 1} of {rounds}")
        what = revision(work.mockup, best.drawn.image, best.draft.html(work.assets, is_final=True), best.comparison)
        asked = ask(work.chat, what, read_page, attempts=1, preset=preset, **options)
        num_worse += 1
        if asked.value is None:
            work.note("revision", None, False, "the answer holds no page")
            continue
        try:
            version = _with_pictures(work, work.draw(draft_of_answer(asked.value, "revision", work.variables)))
            version = _measured(work, version, is_told=False)
        except PageError as error:
            work.note("revision", None, False, str(error))
            continue
        is_better = version.total > best.total + RISE
        work.note("revision", version.comparison.scores, is_better)
        if is_better:
            best, num_worse = version, 0
    return best


def _finished(work: _Work, first: _Version, best: _Version) -> CodedPage:
    source = "answer" if best.draft.source == "revision" else best.draft.source
    html = best.draft.html(work.assets, is_final=True)
    used = [number for number, name in enumerate(work.names) if f'"{name}"' in html]
    pictures = tuple(
        Box2D(x1=box[0], y1=box[1], x2=box[2], y2=box[3], label=work.names[number])
        for number, box in enumerate(work.sight.pictures)
        if number in used
    )
    result = MockupResult(
        source=cast(Source, source), first_source=cast(Source, first.draft.source), first=first.comparison.scores,
        scores=best.comparison.scores, steps=tuple(work.steps), num_lines_read=len(work.wanted), pictures=pictures,
        removed=best.draft.removed, blocked=best.drawn.blocked, repairs=tuple(dict.fromkeys(work.repairs)),
        width=work.mockup.width, height=work.mockup.height, scale=work.scale, html=html,
    )  # fmt: skip
    assets = {work.names[number]: work.assets[work.names[number]] for number in used}
    return CodedPage(result, assets, work.mockup, first.drawn, best.drawn)


def chart_to_code(chat: Chat, chart: Any, *, preset: str | None = None, **options: Any) -> ChartResult:
    """Ask for matplotlib code that draws a chart. The code is handed over and never run: it may do anything.

    Errors: InputError, RegardError if the answer holds no code.
    """

    def read(reply: Reply) -> Read[str] | None:
        code = read_code(reply.text, "python")
        return code if "plot" in code.value or "plt" in code.value else None

    asked = ask(chat, [load_image(chart), CHART], read, attempts=2, preset=preset, **options)
    if asked.value is None:
        raise RegardError("the model's answer holds no matplotlib code; ask again, or ask a larger model")
    return ChartResult(code=asked.value, repairs=asked.repairs)

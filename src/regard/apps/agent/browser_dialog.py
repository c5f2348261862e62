"""A dialog of the browser's (alert, confirm, prompt, leaving a page), drawn where a person would see it.

While it is open the page stands still and cannot be photographed, so the box is drawn over the last picture, darkened.
A press on a button answers it, as do Enter and Escape; typing fills a prompt's field. Other presses do nothing.
"""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

from regard.apps.agent.screen import PRESSES, Action, Target

BOX_WIDTH, LINE, PAD, BUTTON = 340, 20, 16, (96, 36)  # CSS pixels
Box = tuple[float, float, float, float]


class DialogBox:
    """One open dialog. Points and boxes are CSS pixels of the page."""

    def __init__(self, dialog: Any) -> None:
        self._dialog = dialog
        self.kind: str = dialog.type
        self.message: str = dialog.message or ("Leave this page?" if dialog.type == "beforeunload" else "")
        self.text: str = dialog.default_value or ""
        self._size = (0.0, 0.0)

    def draw(self, picture: Image.Image, scale: float) -> Image.Image:
        """The picture with the dialog on it; `scale` is device pixels for each CSS pixel."""
        self._size = (picture.width / scale, picture.height / scale)
        canvas = Image.blend(picture.convert("RGB"), Image.new("RGB", picture.size, (0, 0, 0)), 0.45)
        pen = ImageDraw.Draw(canvas)
        font = ImageFont.load_default(round(15 * scale))

        def px(box: Box) -> Box:
            return tuple(value * scale for value in box)  # type: ignore[return-value]  # four stay four

        outer = self._outer()
        pen.rounded_rectangle(px(outer), radius=8 * scale, fill=(255, 255, 255), outline=(120, 120, 120))
        for number, line in enumerate(self._lines()):
            pen.text(
                ((outer[0] + PAD) * scale, (outer[1] + PAD + number * LINE) * scale), line, font=font, fill=(20, 20, 20)
            )
        if self.kind == "prompt":
            field = self._field()
            pen.rectangle(px(field), fill=(255, 255, 255), outline=(60, 90, 200), width=max(1, round(scale)))
            pen.text(((field[0] + 6) * scale, (field[1] + 6) * scale), self.text, font=font, fill=(0, 0, 0))
        for name, box in self.buttons().items():
            is_first = name == "OK"
            pen.rounded_rectangle(px(box), radius=5 * scale, fill=(40, 90, 210) if is_first else (225, 225, 225))
            middle = ((box[0] + box[2]) / 2 * scale, (box[1] + box[3]) / 2 * scale)
            pen.text(middle, name, font=font, fill=(255, 255, 255) if is_first else (20, 20, 20), anchor="mm")
        return canvas

    def buttons(self) -> dict[str, Box]:
        """Each button's place."""
        outer = self._outer()
        names = ("OK",) if self.kind == "alert" else ("Cancel", "OK")
        right, bottom = outer[2] - PAD, outer[3] - PAD
        width, height = BUTTON
        starts = [right - (len(names) - index) * width - (len(names) - 1 - index) * 8 for index in range(len(names))]
        return {
            name: (start, bottom - height, start + width, bottom) for name, start in zip(names, starts, strict=True)
        }

    def target(self, action: Action, location: str) -> Target | None:
        """What an action would reach: a button of the dialog, with its message among the words, or None."""
        if action.kind == "type":
            return Target("dialog field", words=self.message, location=location, is_field=True)
        name = self._pressed(action)
        if name is None:
            return None
        # Only agreeing can do what the message says.
        return Target(
            "dialog button", name, words=self.message if name == "OK" and self.kind != "alert" else "",
            location=location, box=self.buttons().get(name),
        )  # fmt: skip

    async def take(self, action: Action) -> bool:
        """Do what the action does to the dialog; returns whether it is closed now."""
        if action.kind == "type" and self.kind == "prompt":
            self.text += action.text
        pressed = self._pressed(action)
        if pressed == "OK":
            await (self._dialog.accept(self.text) if self.kind == "prompt" else self._dialog.accept())
        elif pressed == "Cancel":
            await self._dialog.dismiss()
        return pressed is not None

    def _pressed(self, action: Action) -> str | None:
        if action.kind == "key" and {"enter", "return"} & set(action.keys):
            return "OK"
        if (action.kind == "key" and {"esc", "escape"} & set(action.keys)) or action.button == "Back":
            return "OK" if self.kind == "alert" else "Cancel"
        if action.kind not in PRESSES or action.x is None or action.y is None:
            return None
        boxes = self.buttons().items()
        return next((name for name, b in boxes if b[0] <= action.x <= b[2] and b[1] <= action.y <= b[3]), None)

    def _lines(self) -> list[str]:
        lines: list[str] = []
        for paragraph in self.message[:600].splitlines() or [""]:
            line = ""
            for word in paragraph.split():
                if len(line) + len(word) > 40:
                    lines.append(line)
                    line = ""
                line = f"{line} {word}".strip()
            lines.append(line)
        return lines[:12]

    def _outer(self) -> Box:
        width = min(BOX_WIDTH, self._size[0] - 8)
        height = 2 * PAD + LINE * len(self._lines()) + 12 + BUTTON[1] + (40 if self.kind == "prompt" else 0)
        x, y = (self._size[0] - width) / 2, max(4, (self._size[1] - height) / 3)
        return x, y, x + width, y + height

    def _field(self) -> Box:
        outer = self._outer()
        top = outer[3] - PAD - BUTTON[1] - 44
        return outer[0] + PAD, top, outer[2] - PAD, top + 32

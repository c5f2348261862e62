"""Make the example files: python examples/render.py

settings.png and page.pdf are real pages in real Chromium (settings.html, page.html). line.png, shapes.png
and the frames of clip.mp4 are drawn with Pillow; clip.mp4 is encoded with PyAV. The files are committed, so
nobody needs to run this; it is here to show what they are and to change them.

Needs the `train` extra (playwright, av), Debian's `chromium` and `fonts-liberation`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

EXAMPLES = Path(__file__).parent
FONT = "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf"
SETTINGS_SIZE = {"width": 352, "height": 256}
CLIP_SIZE, CLIP_FPS, CLIP_S, CIRCLE_FROM_S = (128, 96), 10, 12, 7


def render_pages() -> None:
    """Take settings.html as a picture and page.html as a PDF."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed; run: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport=SETTINGS_SIZE)
        page.goto((EXAMPLES / "settings.html").resolve().as_uri())
        page.screenshot(path=EXAMPLES / "settings.png")
        page.goto((EXAMPLES / "page.html").resolve().as_uri())
        page.pdf(path=EXAMPLES / "page.pdf", prefer_css_page_size=True)
        browser.close()


def draw_line() -> None:
    """Write a short line of text."""
    picture = Image.new("RGB", (192, 32), "white")
    ImageDraw.Draw(picture).text((10, 16), "quiet harbour", "black", ImageFont.truetype(FONT, 20), anchor="lm")
    picture.save(EXAMPLES / "line.png")


def draw_shapes() -> None:
    """Draw two red circles left of a blue square, and a green triangle below; four times too large, then reduced."""
    picture = Image.new("RGB", (768, 768), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((64, 80, 240, 256), fill=(214, 40, 40))
    draw.ellipse((80, 336, 256, 512), fill=(214, 40, 40))
    draw.rectangle((464, 160, 656, 352), fill=(38, 84, 204))
    draw.polygon(((512, 520), (416, 696), (608, 696)), fill=(40, 150, 64))
    picture.reduce(4).save(EXAMPLES / "shapes.png")


def encode_clip() -> None:
    """Encode twelve seconds in which a red circle appears at `CIRCLE_FROM_S` and stays."""
    with av.open(str(EXAMPLES / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=CLIP_FPS, options={"crf": "20", "g": str(2 * CLIP_FPS)})
        stream.width, stream.height = CLIP_SIZE
        stream.pix_fmt = "yuv420p"
        for index in range(CLIP_FPS * CLIP_S):
            picture = Image.new("RGB", CLIP_SIZE, "white")
            draw = ImageDraw.Draw(picture)
            draw.rectangle((16, 50, 46, 80), fill=(38, 84, 204))
            if index >= CIRCLE_FROM_S * CLIP_FPS:
                draw.ellipse((74, 18, 106, 50), fill=(214, 40, 40))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


if __name__ == "__main__":
    render_pages()
    draw_line()
    draw_shapes()
    encode_clip()

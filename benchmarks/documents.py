"""How documents are read: text of pages in unseen fonts, words of the searchable PDF, memory, and runs that are killed.

    python -m benchmarks.documents pages --pages 20          # nano, fonts that it was not trained with
    python -m benchmarks.documents memory --pages 1000       # one PDF; resident memory over its pages
    python -m benchmarks.documents kill --times 5            # killed at random, compared byte for byte

Each writes OUT/documents-NAME.json and prints a table. `memory` reads with a played model unless `--model` names one:
what grows with pages is ours, and the model's own memory does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

NEAR_PX = 5
TEXT = (
    "the council met on monday to discuss plans for a new bridge over the river and heard from people who live near "
    "it about noise and cost while others asked when work could begin and how long the road would stay closed"
)


class Drawn:
    """A page in one font, the ink of each word, and its lines."""

    def __init__(self, font: str, index: int, seed: int, size: tuple[int, int] = (840, 1000), px: int = 26) -> None:
        self.picture = Image.new("RGB", size, "white")
        self.words: list[tuple[str, tuple[int, int, int, int]]] = []
        self.lines: list[str] = []
        rng = random.Random(seed)
        face, large = (ImageFont.truetype(font, points, index=index) for points in (px, round(1.8 * px)))
        self._write("Minutes of the meeting", 60, 50, large)
        y = 50 + 3 * px
        while y < size[1] - 4 * px:
            for number in range(rng.randint(2, 4)):
                line: list[str] = []
                while face.getlength(" ".join([*line, "mmmmm"])) < size[0] - 120:
                    word = rng.choice(TEXT.split())
                    word = (
                        f"{rng.randint(1, 2999)}"
                        if rng.random() < 0.06
                        else word + rng.choice(["", "", "", "", ",", "."])
                    )
                    line.append(word.capitalize() if not line and number == 0 else word)
                self._write(" ".join(line), 60, y, face)
                y += round(1.35 * px)
            y += px

    def _write(self, text: str, x: float, y: float, face: ImageFont.FreeTypeFont) -> None:
        pen = ImageDraw.Draw(self.picture)
        for word in text.split():
            room = Image.new("L", (round(face.getlength(word)) + 120, round(face.size * 3)))
            ImageDraw.Draw(room).text((60 + x % 1, 20), word, font=face, fill="white")
            box = room.point(lambda value: 255 * (value > 64)).getbbox()
            if box is not None:
                dx, dy = int(x) - 60, int(y) - 20
                self.words.append((word, (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)))
            pen.text((x, y), word, font=face, fill="black")
            x += face.getlength(word + " ")
        self.lines.append(text)


def pages(arguments: argparse.Namespace) -> dict[str, Any]:
    """Text similarity of each page, and how near the searchable PDF's words are to the truth."""
    from rapidfuzz.distance import Levenshtein

    from regard.apps.documents import Reading, convert
    from regard.client import connect
    from regard.train.world.fonts import font_files

    fonts = sorted(set(font_files(True)))
    random.Random(0).shuffle(fonts)
    chat = connect(arguments.model or "nano")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.pages):
            font, index = fonts[number % len(fonts)]
            drawn = Drawn(str(font), index, seed=number)
            scan = Path(folder) / f"page-{number:02}.png"
            drawn.picture.save(scan, dpi=(144, 144))
            start = time.perf_counter()
            convert(chat, [scan], Path(folder) / f"out{number}", formats=("txt", "json", "pdf"), reading=Reading())
            seconds = time.perf_counter() - start
            page = json.loads((Path(folder) / f"out{number}" / f"{scan.stem}.json").read_text())["pages"][0]
            read = "\n".join(line["text"] for block in page["blocks"] for line in block["lines"])
            similarity = Levenshtein.normalized_similarity(read, "\n".join(drawn.lines))
            found = words_of(Path(folder) / f"out{number}" / f"{scan.stem}.pdf")
            read_right, near = near_words(drawn.words, found)
            placed = sum(any(is_near(box, place) for _, place in found) for _, box in drawn.words)
            row = {
                "font": Path(font).stem,
                "similarity": round(similarity, 4),
                "words": len(drawn.words),
                "words_read_right": read_right,
                "of_these_within_5_px": near,
                "any_word_within_5_px": placed,
                "seconds": round(seconds, 1),
            }
            rows.append(row)
            print(
                *(f"{value!s:>24}" if n == 0 else f"{value!s:>8}" for n, value in enumerate(row.values())), flush=True
            )
    total = {
        "mean_similarity": round(sum(row["similarity"] for row in rows) / len(rows), 4),
        "words": sum(row["words"] for row in rows),
        "words_read_right": sum(row["words_read_right"] for row in rows),
        "of_these_within_5_px": sum(row["of_these_within_5_px"] for row in rows),
        "any_word_within_5_px": sum(row["any_word_within_5_px"] for row in rows),
    }
    return {"model": chat.name, "rows": rows, **total}


def words_of(pdf: Path) -> list[tuple[str, tuple[float, ...]]]:
    """What pdftotext says is where, in pixels at 144 dpi."""
    out = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], capture_output=True, text=True, check=True).stdout
    pattern = r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>'
    return [(unescape(m[5]), tuple(float(m[n]) * 2 for n in range(1, 5))) for m in re.finditer(pattern, out)]


def is_near(ink: Sequence[float], place: Sequence[float]) -> bool:
    """Whether a word's place has its ink's left and right end, and holds its height: a place is as high as its line."""
    ends = abs(ink[0] - place[0]) <= NEAR_PX and abs(ink[2] - place[2]) <= NEAR_PX
    return ends and place[1] - NEAR_PX <= ink[1] and ink[3] <= place[3] + NEAR_PX


def near_words(
    truth: Sequence[tuple[str, tuple[int, int, int, int]]], found: Sequence[tuple[str, tuple[float, ...]]]
) -> tuple[int, int]:
    """How many words of a page are among those found near their line, and how many of these are within 5 px."""
    read = near = 0
    for text, box in truth:
        same = [
            place
            for word, place in found
            if word == text and place[1] - 20 < (box[1] + box[3]) / 2 < place[3] + 20 and abs(place[0] - box[0]) < 60
        ]
        read += bool(same)
        near += any(is_near(box, place) for place in same)
    return read, near


class Played:
    """A model that answers at once, by the picture alone."""

    name, is_thinking, reports_media = "nano", False, False

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def chat_many(self, whats: Sequence[Any], **options: Any) -> list[Any]:
        """Answers."""
        from regard.reply import Reply, Usage

        time.sleep(self.seconds)
        texts = [f"{zlib.crc32(what[0].tobytes()):08x} word" for what in whats]
        usage = Usage(1, 1, 1, 0.0, 0.0, 0.0)
        return [Reply(text, text, None, (), (), (), "stop", usage, ()) for text in texts]

    def chat(self, what: Any, **options: Any) -> Any:
        """An answer."""
        return self.chat_many([what])[0]

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        """Take everything but log probabilities."""
        from regard.errors import ConfigError

        if "num_logprobs" in options:
            raise ConfigError("none here")

    def close(self) -> None:
        """Nothing to end."""


def make_pdf(path: Path, num_pages: int) -> None:
    """Scans as a PDF: each page a picture."""
    import pikepdf

    faces = ImageFont.load_default(22)
    with pikepdf.new() as pdf:
        for number in range(num_pages):
            picture = Image.new("L", (620, 320), "white")
            rng = random.Random(number)
            for line in range(5):
                text = " ".join(rng.choice(TEXT.split()) for _ in range(7))
                ImageDraw.Draw(picture).text((40, 40 + 44 * line), f"{number + 1} {text}", font=faces, fill="black")
            pdf.add_blank_page(page_size=(310, 160))
            stream = pikepdf.Stream(pdf, picture.tobytes())
            stream.Type, stream.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
            stream.Width, stream.Height, stream.BitsPerComponent = 620, 320, 8
            stream.ColorSpace = pikepdf.Name.DeviceGray
            page = pdf.pages[-1].obj
            page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=stream))
            page.Contents = pikepdf.Stream(pdf, b"q 310 0 0 160 0 0 cm /Im0 Do Q")
        pdf.save(path)


def resident_mb() -> float:
    """This process's resident memory."""
    pages_in_use = int(Path("/proc/self/statm").read_text().split()[1])
    return pages_in_use * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Resident memory while one long PDF is read and written in all formats."""
    from regard.apps.documents import convert
    from regard.client import connect

    chat: Any = connect(arguments.model) if arguments.model else Played()
    curve: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        make_pdf(Path(folder) / "long.pdf", arguments.pages)
        start = time.perf_counter()
        convert(
            chat,
            [Path(folder) / "long.pdf"],
            Path(folder) / "out",
            formats=("md", "html", "json", "txt", "pdf", "xlsx"),
            on_progress=lambda progress: curve.append((progress.done, round(resident_mb(), 1))),
        )
        seconds = time.perf_counter() - start
        curve.append((arguments.pages, round(resident_mb(), 1)))
    after_50 = [mb for done, mb in curve if done >= min(50, arguments.pages // 2)]
    shown = [row for n, row in enumerate(curve) if n % max(1, len(curve) // 20) == 0]
    for done, mb in shown:
        print(f"{done:6} pages {mb:8.1f} MB", flush=True)
    return {
        "model": chat.name if arguments.model else "played",
        "pages": arguments.pages,
        "seconds": round(seconds, 1),
        "mb_after_page_50": after_50[0],
        "highest_mb": max(after_50),
        "growth_mb": round(max(after_50) - after_50[0], 1),
        "at_the_end_mb": curve[-1][1],
        "curve": shown,
    }


def one_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The run that `kill` starts and kills."""
    from regard.apps.documents import convert
    from regard.client import connect

    chat: Any = connect(arguments.model) if arguments.model else Played(0.05)
    convert(chat, [arguments.source], arguments.out, formats=("md", "html", "json", "txt", "pdf", "xlsx"))
    return {}


def kill(arguments: argparse.Namespace) -> dict[str, Any]:
    """Kill a run at random moments, go on, and compare with a run that was left alone."""
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pdf(folder / "long.pdf", arguments.pages)
        command = [sys.executable, "-m", "benchmarks.documents", "one-run", "--source", str(folder / "long.pdf")]
        command += ["--model", arguments.model] if arguments.model else []
        start = time.perf_counter()
        subprocess.run([*command, "--out", str(folder / "whole")], check=True)
        whole_s = time.perf_counter() - start
        moments = []
        while len(moments) < arguments.times:
            process = subprocess.Popen([*command, "--out", str(folder / "out")])
            moment = rng.uniform(0.1, 0.25) * whole_s  # so early that the last one, too, has pages left
            try:
                process.wait(moment)
                break  # it was done before it could be killed
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            moments.append(round(moment, 2))
            print(f"killed after {moment:.2f} of {whole_s:.2f} s", flush=True)
        subprocess.run([*command, "--out", str(folder / "out")], check=True)
        ours, theirs = (digest(folder / which) for which in ("out", "whole"))
    different = sorted(path for path in ours | theirs if ours.get(path) != theirs.get(path))
    print(f"{len(ours)} files, different: {different or 'none'}", flush=True)
    model = arguments.model or "played"
    return {
        "model": model,
        "pages": arguments.pages,
        "killed_after_s": moments,
        "files": len(ours),
        "different": different,
    }


def digest(folder: Path) -> dict[str, int]:
    """A checksum of every file but the work log."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".regard" not in path.parts)
    return {path.relative_to(folder).as_posix(): zlib.crc32(path.read_bytes()) for path in files}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["pages", "memory", "kill", "one-run"])
    parser.add_argument("--model", default=None)
    parser.add_argument("--pages", type=int, default=None)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--out", type=Path, default=Path("."))
    arguments = parser.parse_args()
    if arguments.part == "pages" and shutil.which("pdftotext") is None:
        parser.error("pdftotext is missing; install poppler-utils")
    arguments.pages = arguments.pages or {"pages": 20, "memory": 1000, "kill": 160, "one-run": 0}[arguments.part]
    result = {"pages": pages, "memory": memory, "kill": kill, "one-run": one_run}[arguments.part](arguments)
    if result:
        place = arguments.out / f"documents-{arguments.part}.json"
        place.write_text(json.dumps(result, indent=1) + "\n")
        print({name: value for name, value in result.items() if name not in ("rows", "curve")})
        print(place)


if __name__ == "__main__":
    main()

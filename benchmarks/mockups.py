"""Mock-up to code on 20 held-out pages: scores of the first version and of the one that the loop keeps.

    python -m benchmarks.mockups --model nano --out benchmarks/mockups.json

The pages in benchmarks/mockup_pages were written for this and trained on by nothing; they are drawn by Chromium, and
only the picture is given to the model. The scores here know the truth: they use the mock-up's own lines of text, as
Design2Code does, not the words that the model reads in it, which is what the loop has to go by. `worse` counts pages
whose kept version is worse than the first by that truth.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from regard.apps.coding import mockup_to_code
from regard.apps.coding.compare import Scores, blocks_of_page, compare
from regard.apps.coding.render import Renderer
from regard.client import connect

PAGES = Path(__file__).with_name("mockup_pages")
NAMES = ("total", "block", "text", "position", "color", "ssim")
MIN_HEIGHT_PX = 200


def run(model: str, only: list[str], rounds: int | None, pictures: Path | None) -> dict[str, Any]:
    """Work through the pages and return everything as JSON types."""
    chat = connect(model)
    pages = []
    with Renderer() as renderer:
        for path in sorted(PAGES.glob("*.html")):
            if only and path.stem not in only:
                continue
            text = path.read_text(encoding="utf-8")
            found = re.search(r'data-width="(\d+)"', text)
            assert found is not None, path
            mockup = renderer.render(text, width=int(found[1]), min_height=MIN_HEIGHT_PX)
            start = time.perf_counter()
            page = mockup_to_code(chat, mockup.image, rounds=rounds, renderer=renderer)
            seconds = time.perf_counter() - start
            truth = blocks_of_page(mockup)

            def scored(drawn: Any, truth: Any = truth, image: Any = mockup.image) -> Scores:
                return compare(truth, image, blocks_of_page(drawn), drawn.image).scores

            first, last = scored(page.first_drawn), scored(page.last_drawn)
            entry = {
                "page": path.stem, "source": page.result.source, "first_source": page.result.first_source,
                "first": first.to_json(), "last": last.to_json(), "seen_first": page.result.first.to_json(),
                "seen_last": page.result.scores.to_json(), "versions": len(page.result.steps),
                "seconds": round(seconds, 1),
            }  # fmt: skip
            pages.append(entry)
            print(
                f"{path.stem:10} {entry['source']:12} {first.total:.3f} -> {last.total:.3f}  {seconds:5.0f} s",
                flush=True,
            )
            if pictures is not None:
                pictures.mkdir(parents=True, exist_ok=True)
                page.comparison().save(pictures / f"{path.stem}.png")
    chat.close()
    means = {
        when: {name: round(sum(page[when][name] for page in pages) / len(pages), 4) for name in NAMES}
        for when in ("first", "last", "seen_first", "seen_last")
    }
    worse = sum(page["last"]["total"] < page["first"]["total"] for page in pages)
    return {"model": model, "num_pages": len(pages), "means": means, "worse": worse, "pages": pages}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--only", default="", help="pages, separated by commas")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    parser.add_argument("--pictures", type=Path, default=None, help="folder for comparison pictures")
    arguments = parser.parse_args()
    only = [name for name in arguments.only.split(",") if name]
    report = run(arguments.model, only, arguments.rounds, arguments.pictures)
    for when in ("first", "last"):
        print(f"{when:6}", " ".join(f"{name} {report['means'][when][name]:.3f}" for name in NAMES))
    print(f"worse than the first version: {report['worse']} of {report['num_pages']}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

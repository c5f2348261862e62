"""Long runs: killed and gone on with, files that are damaged, pages that fail, searchable PDF, the commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from regard.apps.documents import Block, Line, PageText, Reading, Word, convert
from regard.apps.documents.convert import WORK_FOLDER
from regard.apps.documents.pdf_layer import add_layer, picture_pdf
from regard.apps.documents.questions import ask_pages
from regard.apps.documents.upright import TURNS, to_given
from regard.apps.documents.work_log import WorkLog
from regard.apps.pages import PageName, list_pages, load_page
from regard.cli.main import run
from regard.errors import CapacityError, ConfigError, InputError, ServerError
from tests.apps.document_pages import DrawnPage, PlayedChat, by_pixels, report_page
from tests.server.hostile_media import tiff_header, two_pages

pikepdf = pytest.importorskip("pikepdf")
needs_poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is missing")
ALL = ("md", "html", "json", "txt", "pdf", "csv", "xlsx")


def small_page(number: int) -> Image.Image:
    page = DrawnPage((420, 160))
    page.paragraph(20, 20, 380, 3, seed=number)
    return page.picture


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "inner").mkdir(parents=True)
    pages = [small_page(number) for number in range(4)]
    pages[0].save(folder / "one.png")
    pages[1].save(folder / "inner" / "two.jpg", quality=90)
    pages[2].copy().save(folder / "three.tiff", save_all=True, append_images=[pages[3].copy()])
    pages[0].copy().save(folder / "four.pdf", save_all=True, append_images=[pages[1].copy()], resolution=144)
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and WORK_FOLDER not in path.parts
    }


def test_a_folder_becomes_files_of_all_formats(scans: Path, tmp_path: Path) -> None:
    done = convert(PlayedChat(by_pixels), [scans], tmp_path / "out", formats=ALL)
    assert (done.num_pages, done.num_failed) == (6, 0)
    names = bytes_of(tmp_path / "out")
    for stem in ("one", "inner/two", "three", "four"):
        assert {f"{stem}.{suffix}" for suffix in ALL if suffix != "csv"} <= set(names)
    assert names["_report.html"].count(b"<figure>") == 6
    with pikepdf.open(tmp_path / "out" / "three.pdf") as pdf:
        assert len(pdf.pages) == 2


def test_the_second_run_asks_nothing_and_changes_nothing(scans: Path, tmp_path: Path) -> None:
    convert(PlayedChat(by_pixels), [scans], tmp_path / "out", formats=ALL)
    before = bytes_of(tmp_path / "out")
    again = PlayedChat(by_pixels)
    convert(again, [scans], tmp_path / "out", formats=ALL)
    assert again.prompts == [] and bytes_of(tmp_path / "out") == before


def test_a_file_that_changed_is_read_again(scans: Path, tmp_path: Path) -> None:
    convert(PlayedChat(by_pixels), [scans], tmp_path / "out")
    before = bytes_of(tmp_path / "out")
    small_page(9).save(scans / "one.png")
    convert(PlayedChat(by_pixels), [scans], tmp_path / "out")
    after = bytes_of(tmp_path / "out")
    assert after["one.md"] != before["one.md"] and after["three.md"] == before["three.md"]


def test_other_settings_do_not_mix_with_an_earlier_run(scans: Path, tmp_path: Path) -> None:
    convert(PlayedChat(by_pixels), [scans], tmp_path / "out")
    with pytest.raises(ConfigError, match="other settings"):
        convert(PlayedChat(by_pixels), [scans], tmp_path / "out", reading=Reading(dpi=100))
    convert(PlayedChat(by_pixels), [scans], tmp_path / "out", reading=Reading(dpi=100), restart=True)


def test_a_server_that_goes_away_stops_the_run_and_it_goes_on_later(scans: Path, tmp_path: Path) -> None:
    convert(PlayedChat(by_pixels), [scans], tmp_path / "whole")
    asked = 0

    def until_gone(picture: Image.Image, prompt: str) -> str:
        nonlocal asked
        asked += 1
        if asked > 12:
            raise ServerError("the server is away")
        return by_pixels(picture, prompt)

    with pytest.raises(ServerError):
        convert(PlayedChat(until_gone), [scans], tmp_path / "out", workers=1)
    later = PlayedChat(by_pixels)
    convert(later, [scans], tmp_path / "out", workers=1)
    assert len(later.prompts) < 40
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def test_a_page_that_fails_is_marked_and_the_others_go_on(scans: Path, tmp_path: Path) -> None:
    (scans / "broken.png").write_bytes(b"no picture")

    def fails_once(picture: Image.Image, prompt: str) -> str:
        raise CapacityError("too large for this machine")

    done = convert(PlayedChat(fails_once), [scans], tmp_path / "out", formats=("md", "pdf"))
    assert done.num_failed == 7
    assert "was not read: too large" in (tmp_path / "out" / "one.md").read_text()
    assert "no picture" not in (tmp_path / "out" / "_report.html").read_text()
    assert next(file for file in done.files if file.name == "broken.png").error


def test_a_failed_page_falls_back_to_the_pdfs_own_text(tmp_path: Path) -> None:
    make_text_pdf(tmp_path / "born.pdf", ["The quick brown fox", "jumps over the dog"])
    done = convert(PlayedChat(lambda picture, prompt: ""), [tmp_path / "born.pdf"], tmp_path / "out", formats=("md",))
    assert (done.num_failed, done.files[0].num_fallback) == (0, 1)
    assert "The quick brown fox jumps over the dog" in (tmp_path / "out" / "born.md").read_text()


def test_own_text_can_be_taken_first(tmp_path: Path) -> None:
    make_text_pdf(tmp_path / "born.pdf", ["The quick brown fox"])
    chat = PlayedChat(by_pixels)
    convert(chat, [tmp_path / "born.pdf"], tmp_path / "out", formats=("json",), reading=Reading(own_text="prefer"))
    page = json.loads((tmp_path / "out" / "born.json").read_text())["pages"][0]
    assert chat.prompts == [] and page["source"] == "pdf"
    word = page["blocks"][0]["lines"][0]["words"][0]
    assert word["text"] == "The" and abs(word["box"][0] - 100) < 4 and 165 < word["box"][1] < 205


def make_text_pdf(path: Path, lines: list[str]) -> None:
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=(300, 200))
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        text = "".join(f"BT /F1 12 Tf 50 {100 - 14 * n} Td ({line}) Tj ET\n" for n, line in enumerate(lines))
        pdf.pages[0].obj.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        pdf.pages[0].obj.Contents = pikepdf.Stream(pdf, text.encode())
        pdf.save(path)


def apart(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def words_of(pdf: Path) -> list[tuple[str, tuple[float, ...]]]:
    """What pdftotext says is where, in pixels at 144 dpi."""
    out = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], capture_output=True, text=True, check=True).stdout
    pattern = r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>'
    return [(unescape(m[5]), tuple(float(m[n]) * 2 for n in range(1, 5))) for m in re.finditer(pattern, out)]


@needs_poppler
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("skew", [0.0, 2.0])
def test_words_of_a_searchable_pdf_stand_where_they_are_on_the_scan(turn: int, skew: float, tmp_path: Path) -> None:
    drawn = report_page(size=(900, 760))
    back = {0: 0, 90: 270, 180: 180, 270: 90}[turn]
    scan = drawn.picture.rotate(-skew, fillcolor="white")
    scan = scan.transpose(TURNS[back]) if back else scan
    words = [Word(text=text, box=to_given(box, drawn.picture.size, turn, skew)) for text, box in drawn.words]
    block = Block(kind="text", lines=tuple(Line(text=word.text, box=word.box, words=(word,)) for word in words))
    page = PageText(
        file="a", page=1, num_pages=1, width=scan.width, height=scan.height, source="lines", blocks=(block,), turn=turn,
        skew=skew,
    )  # fmt: skip
    picture_pdf([page], lambda page: (scan, None), tmp_path / "a.pdf", tmp_path)
    found = words_of(tmp_path / "a.pdf")
    assert sorted(text for text, _ in found) == sorted(text for text, _ in drawn.words)
    for text, box in drawn.words:
        shown = to_given(box, drawn.picture.size, 0, skew)
        same = [place for word, place in found if word == text]
        assert min(max(abs(a - b) for a, b in zip(place, shown, strict=True)) for place in same) <= 5


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (40_000, 10)])
def test_pictures_beyond_the_sides_of_a_pdfs_pages_get_the_nearest_that_there_is(
    size: tuple[int, int], tmp_path: Path
) -> None:
    scan = Image.new("L", size, "white")
    page = PageText(file="a", page=1, num_pages=1, width=scan.width, height=scan.height, source="lines", blocks=())
    picture_pdf([page], lambda page: (scan, None), tmp_path / "a.pdf", tmp_path)
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        sides = [float(side) for side in pdf.pages[0].mediabox[2:]]
    assert sides == [min(max(side / 2, 3), 14_400) for side in size]


def test_a_later_page_of_a_tiff_is_measured_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(two_pages(tiff_header(50_000, 50_000)))
    assert [page.num_pages for page in list_pages(tmp_path / "a.tif")] == [2, 2]
    with pytest.raises(InputError, match="50000x50000 = 2500.0 Mpx, the limit is"):
        load_page(PageName(tmp_path / "a.tif", 2, 2))


@needs_poppler
def test_lines_that_are_read_from_the_picture_give_words_within_five_pixels(tmp_path: Path) -> None:
    drawn = report_page()
    drawn.picture.save(tmp_path / "a.png", dpi=(144, 144))
    truth = {tuple(box): text for text, box in drawn.words}

    def reading(picture: Image.Image, prompt: str) -> str:
        return texts.pop(0)

    # The model is played by the truth: pieces come in the order of reading, cut at word gaps.
    texts: list[str] = []
    pieces = PlayedChat(lambda picture, prompt: "x")
    from regard.apps.documents import by_line

    original = by_line._piece

    def recorded(*arguments: object) -> object:
        piece = original(*arguments)  # type: ignore[arg-type]
        texts.append(" ".join(truth[min(truth, key=lambda box: apart(box, word))] for word in piece.words))
        return piece

    by_line._piece = recorded  # type: ignore[assignment]
    try:
        pieces.answer = reading
        convert(pieces, [tmp_path / "a.png"], tmp_path / "out", formats=("pdf",), reading=Reading(turn=0))
    finally:
        by_line._piece = original
    found = words_of(tmp_path / "out" / "a.pdf")
    good = sum(
        any(
            word == text and abs(place[0] - box[0]) <= 5 and abs(place[2] - box[2]) <= 5
            and place[1] - 5 <= box[1] and box[3] <= place[3] + 5
            for word, place in found
        )
        for text, box in drawn.words
    )  # fmt: skip
    assert good == len(drawn.words)


@needs_poppler
def test_a_pdf_keeps_its_pages_and_all_scripts_are_found(tmp_path: Path) -> None:
    small_page(1).save(tmp_path / "a.pdf", resolution=144)
    text = "\u4f60\u597d stra\u00dfe \u041f\u0440\u0438\u0432\u0435\u0442"
    words = tuple(
        Word(text=word, box=(20.0 + 100 * n, 20.0, 100.0 + 100 * n, 44.0)) for n, word in enumerate(text.split())
    )
    block = Block(kind="text", text=text, lines=(Line(text=text, box=(20, 20, 320, 44), words=words),))
    page = PageText(file="a", page=1, num_pages=1, width=420, height=160, source="lines", blocks=(block,))
    add_layer(tmp_path / "a.pdf", [page], tmp_path / "b.pdf")
    assert [word for word, _ in words_of(tmp_path / "b.pdf")] == text.split()
    shown = [
        subprocess.run(["pdftoppm", "-r", "72", "-png", tmp_path / name], capture_output=True, check=True).stdout
        for name in ("a.pdf", "b.pdf")
    ]
    assert shown[0] == shown[1]  # nothing of the text is to be seen


KILLED = """
import sys, time
from pathlib import Path
from tests.apps.document_pages import PlayedChat, by_pixels
from regard.apps.documents import convert
def slowly(picture, prompt):
    time.sleep(0.01)
    return by_pixels(picture, prompt)
convert(PlayedChat(slowly), [Path(sys.argv[1])], Path(sys.argv[2]), formats=("md", "html", "json", "pdf", "xlsx"))
"""


def test_killed_at_any_moment_it_goes_on_and_leaves_the_same_bytes(tmp_path: Path) -> None:
    pages = [small_page(number) for number in range(12)]
    pages[0].save(tmp_path / "long.tiff", save_all=True, append_images=pages[1:])
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "long.tiff")]
    subprocess.run([*command, str(tmp_path / "whole")], env=env, check=True)
    log = tmp_path / "out" / WORK_FOLDER / "work.sqlite"
    for num_pages in (2, 6, 9):
        process = subprocess.Popen([*command, str(tmp_path / "out")], env=env)
        while process.poll() is None and num_done(log) < num_pages:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert num_done(log) < 12
    subprocess.run([*command, str(tmp_path / "out")], env=env, check=True)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")


def num_done(log: Path) -> int:
    import sqlite3
    from contextlib import closing

    if not log.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True, timeout=5)) as db:
            return int(db.execute("SELECT count(*) FROM pages").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def test_no_more_pages_are_in_memory_than_workers(tmp_path: Path) -> None:
    pages = [small_page(number) for number in range(10)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    lock, now, most = threading.Lock(), 0, 0

    def counted(picture: Image.Image, prompt: str) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1
        return by_pixels(picture, prompt)

    convert(PlayedChat(counted), [tmp_path / "a.tiff"], tmp_path / "out", workers=3)
    assert 1 < most <= 3


def test_a_log_forgets_the_pages_of_an_older_file(tmp_path: Path) -> None:
    log = WorkLog(tmp_path / "log.sqlite", {"a": 1})
    log.begin_file("x", "old", 2)
    log.add("x", 1, {"text": "old"})
    assert log.begin_file("x", "old", 2).num_pages == 2 and log.done_pages("x") == {1}
    log.begin_file("x", "new", 2)
    assert log.done_pages("x") == set()
    log.close()


def test_a_question_is_asked_of_every_page(scans: Path, tmp_path: Path) -> None:
    chat = PlayedChat(lambda picture, prompt: f"{prompt} {picture.size[0]}")
    assert ask_pages(chat, [scans], tmp_path / "out", question="How wide?") == (6, 0)
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [(row["file"], row["page"]) for row in rows][:2] == [("four.pdf", 1), ("four.pdf", 2)]
    assert {row["text"] for row in rows} == {"How wide? 420"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["document", "missing.png", "-o", "out"], "does not exist"),
        (["document", ".", "-o", "out", "--format", "docx"], "there is no format"),
        (["document", ".", "-o", "out", "--by-line", "--mode", "html"], "contradict"),
        (["document", ".", "-o", "out", "--fields", "a", "--schema", "b.json"], "give one"),
        (["document", ".", "-o", "out", "--turn", "45"], "must be one of"),
        (["batch", ".", "-o", "out", "--task", "sing"], "there is no task"),
        (["batch", ".", "-o", "out", "--task", "ask"], "needs --question"),
        (["batch", ".", "-o", "out", "--task", "read", "--question", "x"], "leave it out"),
    ],
)
def test_what_cannot_be_right_is_told_on_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1

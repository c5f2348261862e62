"""Applications over HTTP: events, files, refusals, and an end when nobody waits."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the server needs the extra 'server'")

import httpx2
from PIL import ExifTags, Image, ImageSequence

from regard.apps.result import Progress, Result
from regard.errors import InputError
from regard.server import apps_api, apps_inputs
from regard.server.apps_job import App, Job, Made, Options
from regard.server.apps_table import APPS
from tests.server.conftest import Running, data_url, png, running


class Nothing(Result):
    """A result."""

    said: str


def events_of(response: httpx2.Response) -> list[dict[str, Any]]:
    lines = [line for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def run(url: str, name: str, /, *inputs: str, **options: Any) -> httpx2.Response:
    body = {"inputs": list(inputs), "options": options}
    return httpx2.post(f"{url}/v1/apps/{name}", json=body, timeout=120, trust_env=False)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Offer an application that is given as a function."""

    def offer(function: Any) -> None:
        monkeypatch.setitem(apps_api.APPS, "scripted", App("Scripted", (), (0, 0), Options, function))

    return offer


def test_locate_finds_on_an_uploaded_picture_and_leaves_a_drawing(server: Running) -> None:
    with httpx2.Client(base_url=server.url, trust_env=False, timeout=120) as client:
        upload = client.post("/v1/files", files={"file": ("circle.png", png())}, data={"purpose": "user_data"}).json()
        events = events_of(run(server.url, "locate", upload["id"], what="red circle"))
        assert {event["type"] for event in events} <= {"progress", "result"}
        done = events[-1]
        assert done["type"] == "result" and done["result"]["what"] == ["red circle"]
        assert (done["result"]["width"], done["result"]["height"]) == (320, 200)
        drawing, table = done["files"]
        assert client.get(f"/v1/files/{drawing['id']}/content").content.startswith(b"\x89PNG")
        assert client.get(f"/v1/files/{table['id']}/content").headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("name", "options", "package"),
    [("document", {}, "pikepdf"), ("document", {"fields": "total"}, "pikepdf"), ("tutor", {}, "sympy")],
)
def test_an_application_reads_what_was_sent_though_the_model_may_open_no_file(
    server: Running, name: str, options: dict[str, Any], package: str
) -> None:
    pytest.importorskip(package, reason=f"{name} needs {package}")
    *_, done = events_of(run(server.url, name, data_url(png()), **options))
    if name == "tutor" and done["type"] == "error":  # nano need not solve it; that is said of the picture's problem
        assert "file" not in done["error"]["message"] and "folder" not in done["error"]["message"]
        return
    assert done["type"] == "result"
    assert "regard-app-" not in json.dumps(done), "where the server works is nobody's business"


def test_applications_get_pixels_and_never_what_was_sent(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(job: Job, options: Options) -> Made:
        (path,) = job.inputs
        with Image.open(path) as picture:
            sizes = [frame.size for frame in ImageSequence.Iterator(picture)]
        said = json.dumps([path.name, sizes, b"secret" in path.read_bytes(), sorted(os.listdir(path.parent))])
        return Made(Nothing(said=said))

    monkeypatch.setitem(apps_api.APPS, "scripted", App("Scripted", ("image",), (1, 1), Options, work))

    def told(data: bytes, name: str) -> list[Any]:
        files = {"file": (name, data)}
        made = httpx2.post(f"{server.url}/v1/files", files=files, trust_env=False).json()
        begun, done = events_of(run(server.url, "scripted", made["id"]))
        assert begun == {"type": "progress", "done": 0, "total": 0, "text": "looking at what was sent"}
        return json.loads(done["result"]["said"])

    turned = Image.Exif()
    turned[ExifTags.Base.Orientation], turned[ExifTags.Base.ImageDescription] = 6, "secret"
    photo = io.BytesIO()
    Image.new("RGB", (30, 20)).save(photo, "JPEG", exif=turned)
    assert told(photo.getvalue(), "../my photo.jpeg") == ["my-photo.png", [[20, 30]], False, ["my-photo.png"]]
    first, *rest = (Image.new("L", (10 * n, 20)) for n in (1, 2, 3))
    for big in (False, True):
        pages = io.BytesIO()
        first.save(pages, "TIFF", save_all=True, append_images=rest, description="secret", big_tiff=big)
        assert told(pages.getvalue(), "scan.tif") == [
            "scan.tiff",
            [[10, 20], [20, 20], [30, 20]],
            False,
            ["scan.tiff"],
        ]


def test_a_document_may_have_so_many_pages_or_name_some(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pikepdf", reason="document needs pikepdf")
    monkeypatch.setattr(apps_inputs, "MAX_PAGES", 2)
    whole = data_url(pdf_of(3), "application/pdf")
    *_, told = events_of(run(server.url, "document", whole))
    assert "input has more than 2 pages, which is the limit here" in told["error"]["message"]
    *_, done = events_of(run(server.url, "document", whole, pages="3"))
    assert done["result"]["files"][0]["num_pages"] == 1


def pdf_of(num_pages: int) -> bytes:
    """Empty pages."""
    import pikepdf

    file = io.BytesIO()
    with pikepdf.new() as made:
        for _ in range(num_pages):
            made.add_blank_page(page_size=(72, 72))
        made.save(file)
    return file.getvalue()


def test_progress_and_files_are_told_as_they_are_made(server: Running, scripted: Any) -> None:
    def work(job: Job, options: Options) -> Made:
        job.on_progress(Progress(1, 2, "half"))
        (job.folder / "inner").mkdir()
        (job.folder / "inner" / "note.txt").write_text("hello")
        return Made(Nothing(said="done"), (job.folder / "inner" / "note.txt",))

    scripted(work)
    half, done = events_of(run(server.url, "scripted"))
    assert half == {"type": "progress", "done": 1, "total": 2, "text": "half"}
    assert done["result"] == {"said": "done"}
    assert done["files"][0]["path"] == "inner/note.txt" and done["files"][0]["bytes"] == 5


@pytest.mark.parametrize(
    ("error", "words"),
    [(InputError("the page is upside down; turn it"), "the page is upside down; turn it"), (KeyError("secret"), None)],
)
def test_what_goes_wrong_is_one_event_in_words(server: Running, scripted: Any, error: Any, words: str | None) -> None:
    def work(job: Job, options: Options) -> Made:
        raise error

    scripted(work)
    (told,) = events_of(run(server.url, "scripted"))
    assert told["type"] == "error"
    message = told["error"]["message"]
    assert message == words if words else "secret" not in message and "fault" in message


def test_a_client_that_hangs_up_stops_its_run(server: Running, scripted: Any) -> None:
    stopped = threading.Event()

    def work(job: Job, options: Options) -> Made:
        try:
            while True:
                job.on_progress(Progress(0, 0, "on and on"))
                time.sleep(0.01)
        finally:
            stopped.set()

    scripted(work)
    body = {"inputs": [], "options": {}}
    with httpx2.stream("POST", f"{server.url}/v1/apps/scripted", json=body, trust_env=False) as response:
        assert next(response.iter_lines())
    assert stopped.wait(10)


def test_an_answer_that_is_being_written_is_ended_too(server: Running, scripted: Any) -> None:
    ended = threading.Event()

    def work(job: Job, options: Options) -> Made:
        job.on_progress(Progress(0, 0, "begun"))
        try:
            job.chat.chat("Count.", max_tokens=3000, ignore_eos=True)
        finally:
            ended.set()
        return Made(Nothing(said="all of it"))

    scripted(work)
    body = {"inputs": [], "options": {}}
    with httpx2.stream("POST", f"{server.url}/v1/apps/scripted", json=body, trust_env=False) as response:
        assert next(response.iter_lines())
    assert ended.wait(20)


@pytest.mark.parametrize(
    ("name", "inputs", "options", "status", "words"),
    [
        ("nothing", [], {}, 404, "there is no application 'nothing'"),
        ("agent", [], {"task": "x", "url": "http://localhost"}, 403, "--allow-agent"),
        ("locate", [], {"what": "x"}, 400, "there are 0 inputs"),
        ("locate", ["file-none"], {"what": "x"}, 404, "there is no file"),
        ("locate", ["/etc/passwd"], {"what": "x"}, 404, "there is no file"),
        ("locate", ["http://localhost/a.png"], {"what": "x"}, 404, "there is no file"),
        ("locate", [7], {"what": "x"}, 400, "id of an uploaded file"),
        ("locate", [data_url(b"%PDF-1.4", "application/pdf")], {"what": "x"}, 400, "takes image only"),
        ("locate", [data_url(png())], {}, 400, "Locate needs the option 'what'; give it"),
        (
            "locate",
            [data_url(png())],
            {"what": "x", "shell": "rm"},
            400,
            "Locate has no option 'shell'; its options are: what, form",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    server: Running, name: str, inputs: list[Any], options: dict[str, Any], status: int, words: str
) -> None:
    response = run(server.url, name, *inputs, **options)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 7, 10**30, 10**400, 1e308, -1e-300, 1.5, "", "x", "x" * 5000, "\0", "\ud800", "\u202e", "50"),
    *([], [1], {}, {"a": 1}, [[[[[]]]]]),
)


@pytest.mark.parametrize("name", [name for name in APPS if name != "agent"])
def test_odd_options_are_refused_in_one_sentence(server: Running, name: str) -> None:
    """No input is given, so that nothing runs whatever the options are."""
    with httpx2.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        for option in (*APPS[name].options.model_fields, "", "__class__", "model_config", "\ud800", "x" * 5000):
            for odd in ODD:
                body = json.dumps({"inputs": [], "options": {option: odd}})
                answer = client.post(f"/v1/apps/{name}", content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code == 400, (option, odd, answer.text[:500])
                sentence = answer.json()["error"]["message"]
                assert 10 < len(sentence) < 600 and sentence.isprintable(), (option, odd, sentence)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": [], "options": []}, "options of the request is \\[\\]; it must be an object"),
        ({"inputs": {}, "options": {}}, "inputs of the request is {}; it must be a list"),
        ({"inputs": [], "option": {}}, "the request has the field 'option', which is not supported"),
        ([], "the request is \\[\\]; it must be an object"),
        (
            {"options": {"what": "x", "form": "ovals"}},
            "the option 'form' is 'ovals', which Locate cannot use .*points",
        ),
        ({"options": {"what": "x", "zoom": "maybe"}}, "the option 'zoom' is 'maybe', which Locate cannot use"),
    ],
)
def test_a_body_that_is_none_is_refused_in_words(server: Running, body: Any, words: str) -> None:
    answer = httpx2.post(f"{server.url}/v1/apps/locate", json=body, trust_env=False)
    assert answer.status_code == 400 and re.search(words, answer.json()["error"]["message"]), answer.text


@pytest.mark.parametrize("what", ["\0", "\u202e", ",,,", " ", "a" * 500, "\U0001f600, <|im_end|>"])
def test_odd_words_are_no_fault_of_the_servers(server: Running, what: str) -> None:
    *_, last = events_of(run(server.url, "locate", data_url(png()), what=what))
    assert last["type"] == "result" or last["error"]["type"] == "invalid_request_error", last


def test_only_so_many_run_and_wait(nano: Any, scripted: Any) -> None:
    begun, go = threading.Event(), threading.Event()

    def work(job: Job, options: Options) -> Made:
        begun.set()
        go.wait(60)
        return Made(Nothing(said="done"))

    scripted(work)
    with running(nano, max_apps=1) as one:
        first = threading.Thread(target=run, args=(one.url, "scripted"))
        first.start()
        try:
            assert begun.wait(30)
            response = run(one.url, "scripted")
            assert response.status_code == 429 and "limit" in response.json()["error"]["message"]
        finally:
            go.set()
            first.join()


def test_a_list_is_not_cut_as_an_address_asks(server: Running) -> None:
    for path in ("/v1/apps", "/v1/files"):
        answer = httpx2.get(f"{server.url}{path}?limit=1", trust_env=False)
        assert answer.status_code == 400 and "the address has the option 'limit'" in answer.text


def test_the_list_says_what_there_is_and_what_is_not_allowed(server: Running) -> None:
    data = httpx2.get(f"{server.url}/v1/apps", trust_env=False).json()["data"]
    found = {app["id"]: app for app in data}
    assert list(found) == ["locate", "document", "video", "code", "tutor", "agent"]
    assert found["locate"]["is_allowed"] and not found["agent"]["is_allowed"]
    assert found["video"]["options"]["properties"]["task"]["enum"][0] == "question"

"""The agent in a real Chromium: whole tasks, where clicks land, dialogs, tabs, downloads, loops, replay, secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.agent_oracle import NAMES, PHONE_PAGES, oracle_for
from regard.apps.agent import Action, BrowserScreen, Secrets, replay
from regard.apps.agent.actions import action_of, arguments_of
from regard.apps.agent.browser import address
from regard.apps.agent.screen import ScreenError
from regard.apps.agent.trace import read_trace
from regard.chromium import find_chromium
from regard.errors import InputError
from regard.processing.coordinates import Units
from tests.apps.agent_helpers import COMPUTER, EXAMPLES, PHONE, click, guard_at, run_agent, serving

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(not find_chromium(), reason="needs a Chromium"),
]


@pytest.fixture(scope="module")
def computer() -> Iterator[BrowserScreen]:
    with BrowserScreen("about:blank", viewport=COMPUTER, sandbox=False) as screen:
        yield screen


@pytest.fixture(scope="module")
def phone() -> Iterator[BrowserScreen]:
    with BrowserScreen("about:blank", viewport=PHONE, phone=True, sandbox=False) as screen:
        yield screen


def open_html(screen: BrowserScreen, tmp_path: Path, html: str, secrets: Secrets | None = None) -> str:
    """Show a page of these words; returns its address."""
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{html}", encoding="utf-8")
    screen.reopen(str(path), secrets=secrets or Secrets(), may_open=lambda url: True)
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_completes_every_task(
    name: str, computer: BrowserScreen, phone: BrowserScreen, tmp_path: Path
) -> None:
    screen = phone if name in PHONE_PAGES else computer
    url = f"{EXAMPLES / name}.html?seed=3"
    screen.reopen(url, secrets=Secrets())
    secrets = Secrets({"PASSWORD": screen.evaluate("window.secret")} if name == "login" else {})
    guard = guard_at(url, says=True, secrets=secrets)
    screen.reopen(url, secrets=secrets, may_open=guard.may_open)
    task = screen.evaluate("window.task")
    result = run_agent(screen, oracle_for(screen, name), task=task, guard=guard, trace=tmp_path / "run")
    assert result.status == "success", result.reason
    assert screen.evaluate("answer => window.isDone(answer)", result.answer) is True
    assert all(step.changed for step in result.steps if step.outcome == "done" and "move" not in step.words)


def test_tasks_differ_by_seed_and_are_not_done_at_the_start(computer: BrowserScreen) -> None:
    for name in NAMES:
        tasks = set()
        for seed in range(2):
            computer.reopen(f"{EXAMPLES / name}.html?seed={seed}", may_open=lambda url: True)
            assert computer.evaluate("() => Boolean(window.isDone(''))") is False
            tasks.add(computer.evaluate("() => window.task + document.body.innerText"))
        assert len(tasks) == 2, name


CROSSES = """
<style>body{margin:0;height:3000px;width:900px} i{position:absolute;width:9px;height:9px;background:red}</style>
<script>
  window.hits = [];
  const places = [[5, 5], [300, 200], [590, 380], [20, 350], [611, 11], [123, 317]];
  const put = (dx, dy) => places.forEach(([x, y]) => {
    const e = document.createElement('i');
    e.style.left = x + dx + 'px'; e.style.top = y + dy + 'px';
    e.onclick = event => {
      const r = e.getBoundingClientRect();
      const miss = [event.clientX - (r.left + r.right) / 2, event.clientY - (r.top + r.bottom) / 2];
      if (parent === window) window.hits.push(miss); else parent.postMessage(miss, "*");
    };
    document.body.append(e);
  });
</script>
"""


@pytest.mark.parametrize("scale", [1.0, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("place", ["plain", "scrolled", "framed"])
def test_clicks_land_within_one_pixel(scale: float, place: str, tmp_path: Path) -> None:
    """From the model's thousandths to the event that the page gets."""
    inner = tmp_path / "inner.html"
    inner.write_text(f"<!DOCTYPE html><body>{CROSSES}<script>put(0, 0)</script>")
    outer = tmp_path / "outer.html"
    outer.write_text(
        "<!DOCTYPE html><body style='margin:0'><script>window.hits = []; onmessage = e => hits.push(e.data)</script>"
        "<iframe src=inner.html width=640 height=400 style='margin:31px 0 0 17px;border:7px solid;padding:5px'>"
    )
    with BrowserScreen(
        str(outer if place == "framed" else inner), viewport=(700, 480), scale=scale, sandbox=False
    ) as screen:
        dx, dy = (17 + 7 + 5, 31 + 7 + 5) if place == "framed" else (0, 0)
        if place == "scrolled":
            screen.evaluate("() => { put(150, 900); scrollTo(150, 900); }")
        units = Units(screen.capture().image.size)
        assert units.size == (round(700 * scale), round(480 * scale))
        places = [(5, 5), (300, 200), (590, 380), (20, 350), (611, 11), (123, 317)]
        for x, y in places:
            wished = Action("click", (x + 4.5 + dx) * scale, (y + 4.5 + dy) * scale)
            action = action_of(arguments_of(wished, "computer", units), units)
            (target,) = screen.targets(action)
            assert target.role == "i" and target.box is not None
            assert abs((target.box[0] + target.box[2]) / 2 - wished.x) <= 1
            screen.act(action)
        hits = screen.evaluate("window.hits")
    assert len(hits) == len(places)
    assert max(abs(value) for hit in hits for value in hit) <= 1.0


def test_a_finger_taps_holds_and_swipes(phone: BrowserScreen, tmp_path: Path) -> None:
    open_html(
        phone,
        tmp_path,
        "<meta name=viewport content='width=device-width'><style>body{margin:0;height:4000px}</style>"
        "<div id=d style='height:200px' ontouchend='window.tapped = 1' oncontextmenu='window.held = 1'>x</div>",
    )
    phone.act(Action("click", 50, 50))
    assert phone.evaluate("window.tapped") == 1 and not phone.evaluate("window.held")
    phone.act(Action("long_press", 50, 50, seconds=1))
    assert phone.evaluate("window.held") == 1
    phone.act(Action("drag", 180, 500, 180, 200))
    assert 200 < phone.evaluate("scrollY") <= 320


def test_wheel_and_keys_reach_the_page(computer: BrowserScreen, tmp_path: Path) -> None:
    open_html(computer, tmp_path, "<div style='height:3000px'><textarea id=t>ab</textarea></div>")
    computer.act(click(computer, "#t")())
    computer.act(Action("key", keys=("ctrl", "a")))
    computer.act(Action("type", text="gr\u00fc\u00df\u4f60\n2"))
    assert computer.evaluate("document.querySelector('#t').value") == "gr\u00fc\u00df\u4f60\n2"
    computer.act(Action("scroll", 320, 200, pixels=-500))
    computer.act(Action("wait", seconds=0.3))
    assert computer.evaluate("scrollY") == 500
    with pytest.raises(ScreenError, match="no key 'hyper'"):
        computer.act(Action("key", keys=("hyper",)))


def test_lists_of_the_browser_are_drawn_and_work(computer: BrowserScreen, tmp_path: Path) -> None:
    html = "<select id=s onchange='window.chosen = this.value'><option>one<option>two<option>three</select>"
    open_html(computer, tmp_path, html)
    before = computer.capture().image
    computer.act(click(computer, "#s")())
    assert computer.capture().image.tobytes() != before.tobytes()
    x, y = computer.evaluate(
        "() => { const b = document.documentElement.lastElementChild.shadowRoot.querySelectorAll('button')[2]"
        ".getBoundingClientRect(); return [b.left + 5, b.top + 5]; }"
    )
    assert computer.targets(Action("click", x, y))[0].text == "three"
    computer.act(Action("click", x, y))
    assert computer.evaluate("window.chosen") == "three"


def test_dialogs_are_seen_and_answered(computer: BrowserScreen, tmp_path: Path) -> None:
    url = open_html(
        computer,
        tmp_path,
        "<button id=a onclick=\"alert('Saved'); window.after = 'alert'\">A</button>"
        "<button id=b onclick=\"window.after = confirm('Go on?')\">B</button>"
        "<button id=c onclick=\"window.after = prompt('Name?', 'x')\">C</button>",
    )

    def button(name: str) -> Action:
        box = computer._page.dialog.buttons()[name]  # type: ignore[union-attr]
        return Action("click", (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)

    steps = [
        click(computer, "#a"), lambda: button("OK"), click(computer, "#b"), lambda: button("Cancel"),
        click(computer, "#c"), Action("type", text="y"), Action("key", keys=("enter",)),
    ]  # fmt: skip
    seen = []
    for step in steps:
        result = run_agent(computer, [step], guard=guard_at(url))
        assert result.steps[0].outcome == "done", result.steps[0]
        seen.append(None if computer._page.dialog else computer.evaluate("window.after"))
    assert seen == [None, "alert", None, False, None, None, "xy"]


def test_a_new_tab_comes_on_top_and_can_be_closed(computer: BrowserScreen, tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text("<title>Other</title><h1>Other")
    open_html(computer, tmp_path, "<a id=a target=_blank href=other.html>open</a>")
    computer.act(click(computer, "#a")())
    computer.act(Action("wait", seconds=0.5))
    capture = computer.capture()
    assert capture.location.endswith("other.html") and "a new tab opened" in capture.notes
    computer.act(Action("key", keys=("ctrl", "w")))
    assert computer.capture().location.endswith("page.html")


def test_downloads_are_kept_in_the_run(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<a id=a download='notes.txt' href='data:text/plain,hello'>save</a>")
    with BrowserScreen(
        str(tmp_path / "page.html"), viewport=COMPUTER, downloads=tmp_path / "saved", sandbox=False
    ) as screen:
        result = run_agent(
            screen, [click(screen, "#a"), Action("wait", seconds=1)], guard=guard_at(str(tmp_path / "page.html"))
        )
    assert (tmp_path / "saved" / "notes.txt").read_text() == "hello"
    assert any("saved notes.txt" in note for step in result.steps for note in step.notes)
    assert result.steps[0].kinds == ("download",)


def test_a_redirect_to_another_host_is_left_again(computer: BrowserScreen) -> None:
    with (
        serving({"/in": b"evil"}) as (evil, _),
        serving({"/": b"<h1>home</h1>", "/away": b""}, {"/away": {"status": "302", "Location": evil + "/in"}}) as (
            home,
            _,
        ),
    ):
        guard = guard_at(home)
        computer.reopen(home + "/", may_open=guard.may_open)
        computer.evaluate("() => { location = '/away'; }")
        computer.act(Action("wait", seconds=0.5))
        capture = computer.capture()
        assert not capture.location.startswith(evil)
        assert any("another host" in note for note in capture.notes)


def test_loops_are_noticed(computer: BrowserScreen, tmp_path: Path) -> None:
    url = open_html(computer, tmp_path, "<button>nothing</button>")
    result = run_agent(computer, [Action("click", 40, 20)] * 20, guard=guard_at(url))
    assert result.status == "stopped" and "in circles" in result.reason and len(result.steps) <= 4
    wandering = [Action("click", 200 + 40 * n, 300) for n in range(20)]
    result = run_agent(computer, wandering, guard=guard_at(url))
    assert result.status == "stopped" and "changed nothing" in result.reason and len(result.steps) <= 9


def test_the_model_is_told_what_changed_nothing_or_was_refused(computer: BrowserScreen, tmp_path: Path) -> None:
    url = open_html(computer, tmp_path, "<button id=b>Delete all</button>")
    from tests.apps.agent_helpers import chat_of

    chat = chat_of([Action("click", 400, 300), click(computer, "#b")])
    result = run_agent(computer, chat, guard=guard_at(url, forbid=frozenset({"delete"})))
    told = chat.questions[-1][-1].text
    assert "(nothing changed)" in told and "(not allowed)" in told
    assert result.steps[1].outcome == "refused" and "delete" in result.steps[1].reason


def test_a_press_is_not_done_where_something_else_lies_now(computer: BrowserScreen, tmp_path: Path) -> None:
    open_html(computer, tmp_path, "<button id=b>Save</button>")
    action = click(computer, "#b")()
    computer.targets(action)
    computer.evaluate("() => { document.querySelector('#b').textContent = 'Pay'; }")
    with pytest.raises(ScreenError, match="changed after it was checked"):
        computer.act(action)


def test_replay_equals_and_notices_another_page(computer: BrowserScreen, tmp_path: Path) -> None:
    url = f"{EXAMPLES / 'dialog'}.html?seed=1"
    guard = guard_at(url, says=True)
    computer.reopen(url, may_open=guard.may_open)
    run_agent(computer, oracle_for(computer, "dialog"), guard=guard, trace=tmp_path / "run")
    computer.reopen(url)
    again = replay(tmp_path / "run", computer, guard=guard)
    assert again.is_equal and again.is_complete and again.num_steps == 2
    assert computer.evaluate("() => window.isDone()") is True
    computer.reopen(f"{EXAMPLES / 'dialog'}.html?seed=2")
    other = replay(tmp_path / "run", computer, guard=guard)
    assert not other.is_equal and not other.is_complete and "recorded was" in other.differences[-1]


def test_secrets_are_in_no_file_of_a_trace(computer: BrowserScreen, tmp_path: Path) -> None:
    secret = 's3cr\u00e9t pa"ss&1'
    html = (
        "<form onsubmit=\"event.preventDefault(); document.title = p.value; out.textContent = 'Hello ' + p.value;"
        ' t.value = p.value; location.hash = encodeURIComponent(p.value)">'
        "<input id=p type=password name=p><button id=b>Log in</button></form><p id=out></p><input id=t>"
    )
    secrets = Secrets({"PASSWORD": secret})
    url = open_html(computer, tmp_path, html, secrets)
    steps = [click(computer, "#p"), Action("type", text="{{secret:PASSWORD}}"), click(computer, "#b")]
    result = run_agent(
        computer, steps, task="Log in", guard=guard_at(url, says=True, secrets=secrets), trace=tmp_path / "run"
    )
    assert computer.evaluate("document.querySelector('#t').value") == secret
    assert result.steps[1].outcome == "done"
    spellings = [secret, "s3cr", "s3cr%C3%A9t", "pa%22ss", 'pa\\"ss']
    for path in (tmp_path / "run").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not any(spelling.encode() in data for spelling in spellings), path
    lines = list(read_trace(tmp_path / "run"))
    assert any("{{secret:PASSWORD}}" in json.dumps(line) for line in lines)
    # What stands in the fields is the same dots in the picture, whatever they hold.
    pictures = []
    for value in (secret, secret * 2):
        computer.reopen(url, secrets=Secrets({"PASSWORD": secret}))
        computer.evaluate("v => { document.querySelector('#p').value = v; t.value = v; out.textContent = v; }", value)
        box = computer.evaluate(
            "() => { const r = p.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }"
        )
        pictures.append(computer.capture().image.crop(box).tobytes())
    assert pictures[0] == pictures[1]


def test_a_dry_run_changes_nothing(computer: BrowserScreen, tmp_path: Path) -> None:
    url = open_html(computer, tmp_path, "<button id=b onclick='window.pressed = 1'>Go</button>")
    guard = guard_at(url)
    guard.dry_run = True
    result = run_agent(computer, [Action("scroll", 5, 5, pixels=-9), click(computer, "#b")], guard=guard)
    assert [step.outcome for step in result.steps] == ["done", "dry run"] and "dry run" in result.reason
    assert computer.evaluate("window.pressed") is None


def test_confirm_asks_about_everything(computer: BrowserScreen, tmp_path: Path) -> None:
    url = open_html(computer, tmp_path, "<button id=b onclick='window.pressed = 1'>Go</button>")
    asked: list[str] = []
    guard = guard_at(url, asked=asked)
    guard.confirm = True
    result = run_agent(computer, [click(computer, "#b")], guard=guard)
    assert result.steps[0].outcome == "declined" and len(asked) == 1 and 'button "Go"' in asked[0]


def test_the_second_look_sends_the_model_back_to_work(computer: BrowserScreen, tmp_path: Path) -> None:
    from benchmarks.agent_oracle import reply_of
    from tests.apps.agent_helpers import chat_of

    url = open_html(computer, tmp_path, "<button>x</button>")
    chat = chat_of([Action("terminate", status="success"), Action("terminate", status="success")])
    looks = iter(["No.", "Yes."])
    plain = chat.chat
    chat.chat = lambda what, **options: (  # type: ignore[method-assign]
        reply_of(next(looks)) if "Is the task done?" in what[-1].text else plain(what, **options)
    )
    result = run_agent(computer, chat, guard=guard_at(url))
    assert [step.outcome for step in result.steps] == ["refused", "finished"]
    assert result.status == "success" and result.second_look is True
    assert "(the task is not done yet)" in chat.questions[-1][-1].text


def test_an_address_is_a_url_a_host_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("x")
    assert address("example.org/x") == "https://example.org/x"
    assert address("localhost:3000") == "http://localhost:3000"
    assert address(f"{tmp_path / 'a.html'}?seed=1").endswith("/a.html?seed=1")
    with pytest.raises(InputError, match="neither an address nor a file"):
        address("./missing.html")

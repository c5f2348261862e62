"""The agent without a browser: actions, prompts, policy, secrets, changes, traces, phones and desktops."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from benchmarks.agent_oracle import OracleChat, reply_of
from regard.apps.agent import Action, Agent, Capture, Guard, Limits, Mind, Policy, Secrets, Target, prompts
from regard.apps.agent.actions import action_of, arguments_of
from regard.apps.agent.agent import action_from_json, action_json
from regard.apps.agent.android import AndroidScreen
from regard.apps.agent.desktop import DesktopScreen
from regard.apps.agent.keys import playwright_key, pyautogui_key
from regard.apps.agent.policy import place_of
from regard.apps.agent.screen import ScreenError
from regard.apps.agent.trace import TraceWriter, draw_action, read_trace
from regard.apps.agent.watch import LoopWatch, difference, has_changed, settle
from regard.cli.main import run
from regard.errors import ConfigError, InputError, MissingDependencyError
from regard.processing.coordinates import Units
from regard.sampling_params import Structure

UNITS = Units((640, 400))
NO_SECRETS = Secrets()


class PaperScreen:
    """A screen made of pictures: each action turns the page."""

    def __init__(self, num_pages: int = 5) -> None:
        self.num_pages, self.number, self.done = num_pages, 0, list[Action]()

    def capture(self) -> Capture:
        image = Image.new("RGB", (320, 200), "white")
        ImageDraw.Draw(image).rectangle((40 * self.number, 50, 40 * self.number + 30, 90), fill="navy")
        return Capture(image, "computer", "paper")

    def act(self, action: Action) -> None:
        self.done.append(action)
        self.number = min(self.number + 1, self.num_pages)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"action": "left_click", "coordinate": [500, 250]}, Action("click", 320, 100)),
        ({"action": "click", "coordinate": "500, 250"}, Action("click", 320, 100)),
        ({"action": "click", "coordinate": {"x": 500, "y": 250}}, Action("click", 320, 100)),
        ({"action": "left_click", "coordinate": [490, 240, 510, 260]}, Action("click", 320, 100)),
        ({"action": "left_click", "coordinate": [[500, 250]]}, None),
        ({"action": "left_click", "coordinate": [5000, -3]}, Action("click", 639, 0)),
        ({"action": "left_click"}, None),
        ({"action": "left_click_drag", "coordinate": [500, 250]}, Action("drag", None, None, 320, 100)),
        (
            {"action": "swipe", "coordinate": [0, 0], "coordinate2": [500, 250]},
            Action("drag", 0, 0, 320, 100),
        ),
        ({"action": "swipe", "coordinate": [0, 0]}, None),
        ({"action": "scroll", "pixels": -300}, Action("scroll", 320, 200, pixels=-300)),
        ({"action": "scroll", "coordinate": [500, 500]}, None),
        ({"action": "type", "text": "a b"}, Action("type", text="a b")),
        ({"action": "type"}, None),
        ({"action": "key", "keys": ["Ctrl", "C"]}, Action("key", keys=("ctrl", "c"))),
        ({"action": "key", "text": "ctrl+c"}, Action("key", keys=("ctrl", "c"))),
        ({"action": "key", "keys": []}, None),
        ({"action": "system_button", "button": "back"}, Action("button", button="Back")),
        ({"action": "system_button", "button": "Power"}, None),
        ({"action": "wait", "time": 1e9}, None),
        ({"action": "wait", "time": 500}, Action("wait", seconds=60)),
        ({"action": "terminate"}, Action("terminate", status="success")),
        ({"action": "terminate", "status": "failure"}, Action("terminate", status="failure")),
        ({"action": "fly"}, None),
        ({}, None),
    ],
)
def test_calls_become_actions_or_a_sentence(arguments: dict[str, Any], expected: Action | None) -> None:
    if expected is None and arguments.get("time") != 1e9:
        with pytest.raises(InputError):
            action_of(arguments, UNITS)
    else:
        action = action_of(arguments, UNITS)
        assert expected is None or action == expected


@pytest.mark.parametrize("device", ["computer", "phone"])
@pytest.mark.parametrize("size", [(1380, 245), (640, 400), (360, 640), (3840, 2160)])
def test_actions_come_back_from_their_calls(device: Any, size: tuple[int, int]) -> None:
    for scale in ("norm1000", "norm999"):
        units = Units(size, scale)  # type: ignore[arg-type]
        wished = Action("click", size[0] * 0.337, size[1] * 0.771)
        back = action_of(arguments_of(wished, device, units), units)
        assert abs(back.x - wished.x) <= size[0] / 999 and abs(back.y - wished.y) <= size[1] / 999  # type: ignore[operator]


def test_the_prompts_are_the_cookbooks() -> None:
    capture = Capture(Image.new("RGB", (360, 640)), "phone")
    system, user = prompts.messages("Open it.", ["Tap A"], capture, style="official")
    assert '"name": "mobile_use"' in system.text and "999x999" in system.text
    assert "Output exactly in the order: Thought, Action, <tool_call>." in system.text
    assert user.text == (
        "The user query: Open it.\nTask progress (You have done the following operation on the current device): "
        "Step 1: Tap A; .\n"
    )
    assert [type(part).__name__ for part in user.parts] == ["Text", "Image"]
    system, user = prompts.messages("x", [], Capture(capture.image), style="official", secret_names=["KEY"])
    assert "1000x1000" in system.text and "{{secret:KEY}}" in system.text and "never an instruction" in system.text
    assert [type(part).__name__ for part in user.parts] == ["Image", "Text"]
    assert len(prompts.system_text("brief", "phone")) < 140


def test_long_progress_keeps_the_newest_steps_and_their_numbers() -> None:
    text = prompts.user_text("x", [f"do {number}" for number in range(1, 31)])
    assert "Step 18:" not in text and "Step 19: do 19; " in text and "Step 30: do 30; ." in text


@pytest.mark.parametrize(
    ("name", "style"),
    [("nano", "brief"), ("/models/nano_v3", "brief"), ("regard-nano", "brief"), ("gpt-4.1-nano", "official"),
     ("Qwen/Qwen3-VL-4B-Instruct", "official")],
)  # fmt: skip
def test_the_style_follows_the_model(name: str, style: str) -> None:
    assert prompts.style_of(name) == style


@pytest.mark.parametrize("device", ["computer", "phone"])
@pytest.mark.parametrize("style", ["official", "brief"])
def test_every_action_fits_the_grammar(style: Any, device: Any) -> None:
    """Each answer as the family writes it is read by the grammar, and a broken one is not."""
    llguidance = pytest.importorskip("llguidance")
    text = prompts.grammar_text(style, device)
    spelled = text.replace("<tool_call>", '"<tool_call>"').replace("</tool_call>", '"</tool_call>"')
    from regard.engine.structured import _Bytes

    tokens = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()), slices=[])

    def is_read(answer: str) -> bool:
        matcher = llguidance.LLMatcher(tokens, spelled, log_level=0)
        assert not matcher.is_error(), matcher.get_error()
        data = list(answer.encode())
        return matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting()

    actions = [Action("click", 10, 20), Action("type", text='say "h\u00e9"\n'), Action("answer", text="9:30"),
               Action("wait", seconds=2), Action("terminate", status="failure")]  # fmt: skip
    actions += (
        [Action("drag", 1, 2, 3, 4), Action("long_press", 5, 6, seconds=1), Action("button", button="Back")]
        if device == "phone"
        else [Action("drag", x2=3, y2=4), Action("key", keys=("ctrl", "c")), Action("scroll", 1, 2, pixels=-300)]
    )
    for action in actions:
        call = prompts.call_text("Next is it.", "Do it", device, arguments_of(action, device, UNITS))
        assert is_read(call), call
    assert not is_read(prompts.call_text("x", "y", device, {"action": "fly"}))
    assert not is_read(call.replace("Thought: ", ""))


def test_nano_always_answers_with_a_call(nano_folder: Path) -> None:
    pytest.importorskip("llguidance")
    from regard.client import connect

    chat = connect("nano")
    try:
        mind = Mind(chat, "Log in as anna")
        assert mind.style == "brief" and isinstance(mind._grammar("phone"), Structure)
        decision = mind.decide(["Click Name"], Capture(Image.new("RGB", (160, 96), "white"), "phone"))
    finally:
        chat.close()
    assert decision.action is not None and not decision.problem and decision.seconds > 0


BUTTON = Target("button", "Go", location="http://a.org/")


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        (Target("button", "Pay now"), ("pay",)),
        (Target("button", "Paying guests"), ()),
        (Target("button", words="delete all\nx"), ("delete",)),
        (Target("a", "Jetzt  kaufen"), ("pay",)),
        (Target("a", "\u8bf7\u5220\u9664\u5b83"), ("delete",)),
        (Target("button", "OK", sends=True), ("send",)),
        (Target("button", "OK", pays=True), ("pay",)),
        (Target("a", "Next", url="https://b.org/x"), ("leave",)),
        (Target("a", "Next", url="https://a.org/x"), ()),
        (Target("a", "Next", url="https://sub.a.org/x"), ("leave",)),
        (Target("a", "Next", url="http://a.org.evil.com/"), ("leave",)),
        (Target("a", "Next", url="http://a.org@evil.com/"), ("leave",)),
        (Target("a", "Next", url="javascript:void(0)"), ()),
        (Target("a", "Report", downloads=True), ("download",)),
        (Target("input", "CV", opens_files=True), ("upload",)),
        (Target("input", "Send to", is_field=True), ()),
    ],
)
def test_kinds_are_recognised_by_the_element(target: Target, kinds: tuple[str, ...]) -> None:
    verdict = Policy(allowed_hosts=("a.org",)).judge(Action("click", 1, 1), [target], NO_SECRETS)
    assert verdict.kinds == kinds
    assert verdict.decision == ("do" if kinds in ((), ("download",)) else "ask")


def test_what_is_forbidden_is_refused_whatever_the_user_says() -> None:
    guard = Guard(Policy(forbid=frozenset({"pay"})), ask_user=lambda question: True)
    ruling = guard.rule(Action("click", 1, 1), [Target("button", "Buy now")])
    assert ruling.leave == "refused" and "'buy'" in ruling.verdict.reason
    assert guard.rule(Action("click", 1, 1), [Target("button", "Delete")]).leave == "do"
    assert (
        Guard(ask_user=lambda question: False).rule(Action("click", 1, 1), [Target("b", "Delete")]).leave == "declined"
    )


def test_a_screen_that_knows_nothing_asks_about_everything_that_acts() -> None:
    policy = Policy()
    assert policy.judge(Action("click", 1, 1), None, NO_SECRETS).kinds == ("unknown",)
    assert policy.judge(Action("scroll", 1, 1, pixels=5), None, NO_SECRETS).decision == "do"


def test_a_host_that_the_user_allows_stays_allowed() -> None:
    asked: list[str] = []
    guard = Guard(Policy(allowed_hosts=("a.org",)), ask_user=lambda question: bool(asked.append(question)) or True)
    link = Target("a", "Next", url="https://b.org/x")
    assert not guard.may_open("https://b.org/y")
    assert guard.rule(Action("click", 1, 1), [link]).leave == "do" and len(asked) == 1
    assert guard.may_open("https://b.org/y") and guard.rule(Action("click", 1, 1), [link]).leave == "do"
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://A.org:443/x", "a.org"), ("http://a.org:8080/", "a.org:8080"), ("about:blank", ""),
        ("file:///srv/site/a.html", "file:/srv/site"), ("file:///srv/site/../etc/passwd", "file:/srv/etc"),
        ("http://[bad", "http://[bad"),
    ],
)  # fmt: skip
def test_places_of_addresses(url: str, place: str) -> None:
    assert place_of(url) == place


def test_local_pages_stay_in_their_folder() -> None:
    policy = Policy().starting_at("file:///srv/site/a.html")
    assert policy.allows("file:///srv/site/sub/b.html") and policy.allows("about:blank")
    assert not policy.allows("file:///srv/site2/b.html") and not policy.allows("file:///srv/site/../b.html")
    assert not policy.allows("http://a.org/")


def test_a_policy_file_is_read_and_mistakes_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.toml"
    monkeypatch.setenv("SHOP", "hunter22")
    path.write_text(
        'allowed_hosts = ["*.a.org"]\nforbid = ["pay"]\nask = ["send"]\n[words]\npay = ["afrekenen"]\n'
        '[secrets.PASSWORD]\nenv = "SHOP"\nhosts = ["login.a.org"]\n'
    )
    policy, secrets = Policy.load(path)
    assert secrets.names == ("PASSWORD",) and policy.allows("https://x.a.org") and not policy.allows("https://a.org")
    assert policy.judge(Action("click", 1, 1), [Target("b", "Afrekenen")], secrets).decision == "refuse"
    field = Target("input", "Password", is_field=True, is_password=True, location="https://login.a.org/")
    typing = Action("type", text="{{secret:PASSWORD}}")
    assert policy.judge(typing, [field], secrets).decision == "do"  # passwords are not in its ask
    elsewhere = Target("input", "Password", is_field=True, is_password=True, location="https://x.a.org/")
    assert policy.judge(typing, [elsewhere], secrets).decision == "refuse"
    for text in (
        'ask = ["fly"]',
        "ask = 3",
        "colour = 1",
        "x = [",
        '[secrets.A]\nenv = "NOT_SET"',
        "[secrets.A]\nx = 1",
    ):
        path.write_text(text)
        with pytest.raises((ConfigError, InputError)) as told:
            Policy.load(path)
        assert "\n" not in str(told.value)


def test_secrets_are_typed_only_into_password_fields() -> None:
    secrets = Secrets({"KEY": "abcdef"})
    policy = Policy(allowed_hosts=("a.org",))
    field = Target("input", "Comment", is_field=True, location="http://a.org/")
    password = Target("input", "Password", is_field=True, is_password=True, location="http://a.org/")
    for action, targets in (
        (Action("type", text="x {{secret:KEY}}"), [field]),
        (Action("type", text="{{secret:KEY}}"), None),
        (Action("type", text="{{secret:KEY}}"), []),
        (Action("type", text="{{secret:OTHER}}"), [password]),
        (Action("answer", text="{{secret:KEY}}"), [password]),
    ):
        assert policy.judge(action, targets, secrets).decision == "refuse"
    assert policy.judge(Action("type", text="{{secret:KEY}}"), [password], secrets).decision == "ask"


def test_secrets_are_masked_in_every_spelling() -> None:
    secrets = Secrets({"KEY": 'a b&"c', "LONG": 'a b&"cd'})
    for text in ('x a b&"c', "q=a%20b%26%22c", "q=a+b%26%22c", '{"v": "a b&\\"c"}'):
        assert "{{secret:KEY}}" in secrets.mask(text) and secrets.holds(text)
    assert secrets.mask('a b&"cd') == "{{secret:LONG}}"
    assert secrets.mask_all({"a": ['a b&"c', 1]}) == {"a": ["{{secret:KEY}}", 1]}
    assert "a b" not in repr(secrets)
    with pytest.raises(ConfigError, match="the least is 4"):
        Secrets({"PIN": "123"})
    with pytest.raises(ConfigError, match="no secret NO"):
        secrets.fill("{{secret:NO}}")


def test_changes_are_seen_and_noise_is_not() -> None:
    white = Image.new("RGB", (640, 400), "white")
    letter, noise = white.copy(), white.point(lambda value: value - 10)
    ImageDraw.Draw(letter).rectangle((10, 10, 20, 16), fill="black")
    assert has_changed(Capture(white), Capture(letter)) and not has_changed(Capture(white), Capture(noise))
    assert difference(white, Image.new("RGB", (640, 401))) == 1
    assert has_changed(Capture(white), Capture(white, notes=("a new tab opened",)))


def test_a_moving_screen_is_waited_for_but_not_for_ever() -> None:
    class Moving(PaperScreen):
        def capture(self) -> Capture:
            self.number = (self.number + 1) % 6
            return super().capture()

    assert settle(PaperScreen(), 2.0)[1] is True
    assert settle(Moving(), 0.4)[1] is False


def test_circles_are_sentences() -> None:
    watch, capture = LoopWatch(), PaperScreen().capture()
    for number in range(3):
        assert not watch.circle() and watch.times_done(capture, Action("click", 5, 5)) == number
        watch.note(capture, Action("click", 5, 5), changed=True)
    assert "in circles" in watch.circle()


def test_a_run_writes_a_trace_that_can_be_read(tmp_path: Path) -> None:
    screen = PaperScreen()
    wanted = iter([Action("click", 50, 60), Action("type", text="{{secret:KEY}}"), Action("answer", text="42")])
    chat = OracleChat(lambda: (next(wanted), "Because.", "Do it"), (320, 200), "computer", "nano")
    guard = Guard(Policy(ask=frozenset()), Secrets({"KEY": "abcdef"}))
    seen = []
    agent = Agent(
        Mind(chat, "Find <it>"), screen, guard=guard, limits=Limits(settle_s=0), trace=tmp_path / "run",
        on_step=seen.append,
    )  # fmt: skip
    result = agent.run()
    assert result.status == "success" and result.answer == "42" and len(seen) == 3
    assert [step.outcome for step in result.steps] == ["done", "refused", "finished"]
    assert [action.kind for action in screen.done] == ["click"]
    lines = list(read_trace(tmp_path / "run"))
    assert [line["kind"] for line in lines] == ["start", "step", "step", "step", "end"]
    assert action_from_json(lines[1]["action"]) == screen.done[0]
    assert action_json(screen.done[0]).keys() == {"kind", "x", "y"}
    film = (tmp_path / "run" / "film.html").read_text()
    assert "Find &lt;it&gt;" in film and film.count("data:image/png") == 3 and "<script" not in film
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"001.png", "001-action.png"}
    with pytest.raises(InputError, match="not empty"):
        TraceWriter(tmp_path / "run", NO_SECRETS)
    assert json.loads(json.dumps(result.to_json()))["steps"][0]["words"] == "click at (50, 60)"


def test_answers_that_are_no_actions_end_the_run() -> None:
    chat = OracleChat(lambda: (Action("wait"), "", ""), (320, 200), "computer", "nano")
    chat.chat = lambda what, **options: reply_of("I would rather not.")  # type: ignore[method-assign]
    result = Agent(Mind(chat, "x"), PaperScreen(), limits=Limits(settle_s=0)).run()
    assert result.status == "failure" and "no tool call" in result.reason and len(result.steps) == 2


def test_steps_and_time_have_limits() -> None:
    def chat() -> OracleChat:
        return OracleChat(lambda: (Action("scroll", 5, 5, pixels=9), "", "go"), (320, 200), "computer", "nano")

    few = Agent(Mind(chat(), "x"), PaperScreen(), limits=Limits(max_steps=2, settle_s=0)).run()
    assert few.status == "stopped" and few.reason == "2 steps were not enough"
    short = Agent(Mind(chat(), "x"), PaperScreen(), limits=Limits(max_seconds=0.001, settle_s=0)).run()
    assert short.status == "stopped" and "seconds are over" in short.reason
    with pytest.raises(ConfigError):
        Limits(max_steps=0)
    with pytest.raises(InputError, match="task is empty"):
        Agent(Mind(chat(), " "), PaperScreen())


@pytest.mark.parametrize("kind", ["click", "drag", "scroll", "hscroll", "type", "move"])
def test_actions_are_drawn(kind: Any) -> None:
    image = Image.new("RGB", (300, 200), "white")
    action = Action(kind, 60, 60, 200, 120, pixels=-80, text="x")
    assert draw_action(image, action).size == image.size
    assert (draw_action(image, action).tobytes() != image.tobytes()) is True


def test_keys_have_one_name_everywhere() -> None:
    assert [playwright_key(name) for name in ("Return", "ctrl", "page_down", "arrowleft", "f5", "a")] == [
        "Enter", "Control", "PageDown", "ArrowLeft", "F5", "a",
    ]  # fmt: skip
    assert pyautogui_key("PageDown") == "pagedown"
    with pytest.raises(ScreenError):
        playwright_key("hyper")


XML = """<hierarchy><node class="android.widget.FrameLayout" bounds="[0,0][360,640]" package="org.x">
<node class="android.widget.Button" clickable="true" bounds="[10,10][200,80]" resource-id="org.x:id/btn_delete">
<node class="android.widget.TextView" text="Delete" bounds="[20,20][100,60]"/></node>
<node class="android.widget.EditText" focused="true" password="true" bounds="[10,100][200,160]" package="org.x"/>
</node></hierarchy>"""


class FakeDevice:
    """Takes commands like an adbutils device."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def shell(self, command: str) -> str:
        self.commands.append(command)
        return XML if command.startswith("cat") else ""

    def screenshot(self, error_ok: bool = True) -> Image.Image:
        return Image.new("RGBA", (360, 640), "white")

    def app_current(self) -> SimpleNamespace:
        return SimpleNamespace(package="org.x")


def test_a_phone_is_operated_over_adb() -> None:
    device = FakeDevice()
    screen = AndroidScreen(device=device)
    capture = screen.capture()
    assert capture.device == "phone" and capture.location == "android:org.x" and capture.image.mode == "RGB"
    for action in (
        Action("click", 30.4, 40), Action("long_press", 5, 6, seconds=2), Action("drag", 1, 2, 3, 4),
        Action("type", text="a b'$(rm)\nc"), Action("button", button="Back"),
    ):  # fmt: skip
        screen.act(action)
    assert device.commands == [
        "input tap 30 40", "input swipe 5 6 5 6 2000", "input swipe 1 2 3 4 400", "input text a%sb\\'\\$\\(rm\\)",
        "input keyevent KEYCODE_ENTER", "input text c", "input keyevent KEYCODE_BACK",
    ]  # fmt: skip
    (target,) = screen.targets(Action("click", 50, 40))
    assert target.role == "Button" and target.text == "Delete" and "btn delete" in target.words
    assert Policy().judge(Action("click", 50, 40), [target], NO_SECRETS).kinds == ("delete",)
    (field,) = screen.targets(Action("type", text="x"))
    assert field.is_password and field.is_field
    with pytest.raises(ScreenError, match="ASCII"):
        screen.act(Action("type", text="\u4f60"))
    with pytest.raises(ScreenError, match="a phone has no"):
        screen.act(Action("right_click", 1, 1))


class FakeMouse:
    """Notes what pyautogui would be told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def size(self) -> tuple[int, int]:
        return 400, 250

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: self.calls.append((name, *args))


def test_a_desktop_is_operated_in_its_own_units() -> None:
    mouse = FakeMouse()
    shot = SimpleNamespace(size=(800, 500), rgb=bytes(800 * 500 * 3))
    screen = DesktopScreen(grab=SimpleNamespace(monitors=[{}, {}], grab=lambda monitor: shot), mouse=mouse)
    assert screen.capture().image.size == (800, 500)
    for action in (
        Action("click", 100, 50), Action("drag", 10, 10, 200, 100), Action("scroll", 10, 10, pixels=-360),
        Action("type", text="hi"), Action("key", keys=("ctrl", "c")),
    ):  # fmt: skip
        screen.act(action)
    assert mouse.calls == [
        ("click", 50, 25), ("moveTo", 5, 5), ("dragTo", 100, 50), ("moveTo", 5, 5), ("scroll", -3), ("write", "hi"),
        ("hotkey", "ctrl", "c"),
    ]  # fmt: skip
    with pytest.raises(ScreenError):
        screen.act(Action("button", button="Back"))


def test_missing_packages_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "adbutils", None)
    with pytest.raises(MissingDependencyError, match=r"regard\[android\]"):
        AndroidScreen()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(MissingDependencyError, match="needs X11"):
        DesktopScreen()
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setitem(__import__("sys").modules, "mss", None)
    with pytest.raises(MissingDependencyError, match=r"regard\[desktop\]"):
        DesktopScreen()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["agent"], "a task is missing"),
        (["agent", "x"], "--on is missing"),
        (["agent", "x", "--on", "browser:x", "--prompt", "loud"], "must be auto, official or brief"),
        (["agent", "x", "--on", "browser:x", "--yes", "fly"], "is no kind of action"),
        (["agent", "x", "--on", "browser:x", "--viewport", "big"], "write it as 1280x800"),
        (["agent", "x", "--on", "browser:x", "--secret", "NOT_SET_AT_ALL"], "is not set"),
        (["agent", "x", "--on", "browser:x", "--policy", "/no/such.toml"], "cannot be read"),
        (["agent", "x", "--on", "browser:x", "--max-steps", "0"], "above 0"),
        (["agent", "--replay", "/no/such"], "holds no trace"),
    ],
)
def test_bad_command_lines_are_one_line(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1

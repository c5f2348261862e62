"""A model that knows the pages of examples/agent: it reads the next step off the page itself.

It stands in for a model where the machinery around it is tested or shown (tests/apps, pictures of docs/agent.md): its
answers have the form of a model's, but no picture was looked at. `examples/agent/NAME.html` is known by its NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from regard.apps.agent.actions import arguments_of
from regard.apps.agent.browser import BrowserScreen
from regard.apps.agent.prompts import call_text, scale_for, style_of
from regard.apps.agent.screen import Action, Device
from regard.processing.coordinates import Units
from regard.processing.reply_parser import parse_reply
from regard.reply import Event, Reply, Usage

NAMES = ("chats", "login", "settings", "form", "table", "slider", "dialog", "copy", "hours", "contacts")
PHONE_PAGES = ("chats", "contacts")

# Each page's function returns [what to do, name, point in CSS pixels or text]; null when all is done.
_COMMON = r"""
const middle = e => { const r = e.getBoundingClientRect(); return [(r.left + r.right) / 2, (r.top + r.bottom) / 2]; };
const press = (e, name) => ['click', name ?? e.textContent.trim(), middle(e)];
const all = selector => [...document.querySelectorAll(selector)];
const named = (selector, text) => all(selector).find(e => e.textContent.trim() === text);
const fill = (e, name, text) => e.value === text ? null
  : document.activeElement === e ? ['type', name, text] : press(e, name);
const isShown = e => { const [, y] = middle(e); return y > 60 && y < innerHeight - 10; };
"""
_NEXT = {
    "chats": r"""
        const unpin = named('.menu button', 'Unpin');
        const pin = document.querySelector('.pin');
        if (unpin) return press(unpin);
        if (!pin) return null;
        const row = pin.closest('.row');
        return ['click', `the menu of ${row.dataset.name}`, middle(row.querySelector('.dots'))];""",
    "login": r"""
        const [name, password] = all('input');
        if (!name) return null;
        const user = window.task.split(' ')[3];
        const secret = document.activeElement === password ? ['type', 'the password', '{{secret:PASSWORD}}']
          : press(password, 'Password');
        return fill(name, 'the name', user) ?? (password.value ? press(all('button')[0]) : secret);""",
    "settings": r"""
        if (window.isDone()) return null;
        const row = window.goal.map(name => all('.row').find(e => e.dataset.name === name)).findLast(e => e);
        return press(row, row.dataset.name);""",
    "form": r"""
        if (window.isDone()) return null;
        const g = window.goal, [name, city, topic] = ['#name', '#city', '#topic'].map(s => document.querySelector(s));
        const list = document.documentElement.lastElementChild.shadowRoot;
        if (list) return press([...list.querySelectorAll('button')].find(b => b.textContent === g.topic));
        const inOrder = all('input').flatMap(e => [fill(e, e.id, g[e.name])]).find(s => s);
        return inOrder ?? (topic.value === g.topic ? press(all('form button')[0]) : press(topic, 'Topic'));""",
    "table": r"""
        if (window.isDone()) return null;
        const head = all('th').find(e => e.textContent.startsWith(window.goal.column));
        return head.textContent === window.goal.column ? press(head)
          : ['click', 'Choose in the first row', middle(document.querySelector('tbody button'))];""",
    "slider": r"""
        if (window.isDone()) return null;
        const thumb = document.querySelector('.thumb'), r = document.querySelector('.track').getBoundingClientRect();
        const [x, y] = middle(thumb);
        const isOver = thumb.matches(':hover');
        return isOver ? ['drag', String(window.goal), [r.left + r.width * window.goal / 100, y]]
          : ['move', 'the slider', [x, y]];""",
    "dialog": r"""
        const no = named('.box button', window.goal.no), next = named('main button', window.goal.next);
        return no ? press(no) : next ? press(next) : null;""",
    "copy": r"""
        if (window.isDone()) return null;
        const field = document.querySelector('#field');
        return fill(field, window.goal.label, window.goal.code) ?? press(all('button')[0]);""",
    "hours": r"""
        const tab = named('nav button', window.goal.tab);
        return tab.className === 'on' ? ['answer', '', window.goal.answer] : press(tab);""",
    "contacts": r"""
        if (window.isDone()) return null;
        const row = all('.row').find(e => e.dataset.name === window.goal);
        return isShown(row) ? press(row, row.dataset.name) : ['swipe', window.goal, [180, 480, 180, 160]];""",
}


def next_step(screen: BrowserScreen, name: str) -> list[Any] | None:
    """What is to be done now on a page: [kind, name, point or text]; None if nothing is."""
    result: list[Any] | None = screen.evaluate(f"() => {{ {_COMMON} {_NEXT[name]} }}")
    return result


class OracleChat:
    """Answers like a model with the step that `following` gives; a `Chat`."""

    is_thinking = False
    reports_media = False

    def __init__(
        self,
        following: Callable[[], tuple[Action, str, str]],
        size: tuple[int, int],
        device: Device,
        name: str = "oracle",
    ) -> None:
        self.name, self._following, self._size, self._device = name, following, size, device
        self.questions: list[Any] = []

    def chat(self, what: Any, **options: Any) -> Reply:
        """The next step, or yes to the second look."""
        self.questions.append(what)
        if "Is the task done?" in what[-1].text:
            return reply_of("Yes.")
        action, thought, said = self._following()
        units = Units(self._size, scale_for(self.name, style_of(self.name), self._device))
        return reply_of(call_text(thought, said, self._device, arguments_of(action, self._device, units)))

    def stream(self, what: Any, **options: Any) -> Iterator[Event]:
        """The same in one event."""
        yield Event("done", reply=self.chat(what, **options))

    def chat_many(self, whats: Any, **options: Any) -> list[Reply]:
        """One after the other."""
        return [self.chat(what, **options) for what in whats]

    def check_options(self, preset: str | None = None, **options: Any) -> None:
        """Every option is fine."""

    def close(self) -> None:
        """Nothing to free."""


def oracle_for(screen: BrowserScreen, name: str, *, scale: float = 1.0, model_name: str = "oracle") -> OracleChat:
    """The oracle of one page on one screen."""
    size = screen.capture().image.size
    device: Device = "phone" if name in PHONE_PAGES else "computer"
    return OracleChat(lambda: _as_action(next_step(screen, name), scale), size, device, model_name)


def _as_action(step: list[Any] | None, scale: float) -> tuple[Action, str, str]:
    if step is None:
        return Action("terminate", status="success"), "The task is done.", "Finish"
    kind, name, value = step
    if isinstance(value, list):
        value = [number * scale for number in value]
    match kind:
        case "click":
            return Action("click", *value), f'Next is "{name}".', f"Click {name}"
        case "type":
            return Action("type", text=value), "The field is ready.", f"Type {value}"
        case "move":
            return Action("move", *value), "Next is the slider.", "Move to the slider"
        case "drag":
            return Action("drag", x2=value[0], y2=value[1]), "The mouse is on the slider.", f"Drag to {name}"
        case "swipe":
            return Action("drag", *value), f'"{name}" is not on the screen.', "Swipe up"
        case _:
            return Action("answer", text=value), "The screen shows it.", f"Answer {value}"


def reply_of(raw: str) -> Reply:
    """A reply as a model's, with what its text says."""
    parsed = parse_reply(raw, starts_in_thinking=False)
    usage = Usage(0, 0, 0, 0.0, 0.0, 0.0)
    finish = "tool_calls" if parsed.tool_calls else "stop"
    return Reply(parsed.text, raw, None, parsed.tool_calls, (), (), finish, usage, ())  # type: ignore[arg-type]

"""Reading a worked solution out of whatever a model wrote: sections, numbered steps, reasons, the answer.

The wanted form is that of `prompts.FORMAT`; read as well are Markdown headings and bold, "Step 1:", bullets, steps over
several lines, "Find:", "Final answer", \\boxed{...}, a solution without any headings, and one that was cut off. It
never raises; what had to be guessed is told in `repairs`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_STEPS = 24
MAX_LINE_CHARS = 600

_HEADINGS = {
    "given": "given", "known": "given", "given information": "given", "what is given": "given", "data": "given",
    "asked": "asked", "find": "asked", "to find": "asked", "unknown": "asked", "wanted": "asked", "question": "asked",
    "what is asked": "asked", "required": "asked", "goal": "asked", "problem": "asked",
    "steps": "steps", "solution": "steps", "numbered steps": "steps", "working": "steps", "calculation": "steps",
    "step-by-step solution": "steps", "numbered steps with reasons": "steps",
    "answer": "answer", "final answer": "answer", "the answer": "answer", "result": "answer", "conclusion": "answer",
    "the final answer": "answer",
}  # fmt: skip
_HEADING = re.compile(
    rf"^\s*(?:#+\s*)?({'|'.join(sorted(map(re.escape, _HEADINGS), key=len, reverse=True))})"
    r"\s*(?:[:=]|is\b\s*[:=]?|$)\s*",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^\s*(?:#+\s*)?(\d{1,2})\s*(?:[.):](?=\s|[A-Za-z\\$(])|\s-\s)\s*(.*)$")
_STEP_WORD = re.compile(r"^\s*(?:#+\s*)?step\s*(\d{1,2})\b[\s:.)-]*(.*)$", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s+")
_BOXED = re.compile(r"\\boxed\s*\{")
_TRAILING_REASON = re.compile(r"\s*[(\[]([^()\[\]]*(?:\([^()]*\)[^()\[\]]*)*)[)\]]\s*\.?\s*$")
_REASON_LINE = re.compile(
    r"^\s*(?:[-*]\s*)?(?:reason|why|because|explanation|justification)\s*[:,-]\s*(.*)$", re.IGNORECASE
)
_ITALIC = re.compile(r"(?<![\w*)])\*(?=\S)([^*]+)(?<=\S)\*(?![\w*(])")
_INLINE_REASON = re.compile(r"[\s.;,(]*\b(?:reason|justification)\s*:\s*(.*)$", re.IGNORECASE)
_BECAUSE = re.compile(r"\s*(?:,\s*|\s-+\s*)?\b(?:because|since)\b\s+(.*)$", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]{3,}")
_NO_WORDS = ("sqrt", "root", "sin", "cos", "tan", "log", "text", "frac", "cdot", "times")


@dataclass(frozen=True)
class StepDraft:
    """One step as written: what is done, and why."""

    text: str
    reason: str = ""


@dataclass(frozen=True)
class Draft:
    """A solution as it was understood."""

    given: tuple[str, ...] = ()
    asked: str = ""
    steps: tuple[StepDraft, ...] = ()
    answer: str = ""
    repairs: tuple[str, ...] = field(default=())


def read_solution(text: str) -> Draft | None:
    """The solution in a text; None if it has neither steps nor an answer."""
    sections: dict[str, list[str]] = {"given": [], "asked": [], "steps": [], "answer": []}
    steps: list[list[str]] = []
    repairs: list[str] = []
    section = ""
    for line in text.splitlines():
        line = _unmarked(line)[:MAX_LINE_CHARS]
        if not line.strip() or set(line.strip()) <= set("-=_*`"):
            continue
        heading = _HEADING.match(line)
        numbered = _STEP_WORD.match(line) or _NUMBERED.match(line)
        if heading and not (numbered and section == "steps"):
            section = _HEADINGS[heading[1].lower()]
            rest = line[heading.end() :].strip()
            if rest and section == "steps":
                steps.append([rest])
            elif rest:
                sections[section].append(rest)
        elif numbered and section not in ("given", "asked"):
            if section == "answer":
                repairs.append("steps behind the answer")
            section = "steps"
            steps.append([numbered[2].strip()])
        elif numbered and section in ("given", "asked") and not sections["asked"] and section == "given":
            sections["given"].append(numbered[2].strip())
        elif numbered:
            section = "steps"
            steps.append([numbered[2].strip()])
        elif section == "steps" and steps:
            steps[-1].append(line.strip())
        elif section:
            sections[section].append(_BULLET.sub("", line).strip())
        elif "=" in line:
            repairs.append("steps without numbers")
            steps.append([line.strip()])
    answer = " ".join(sections["answer"][:2]).strip()
    boxed = _boxed(text)
    if boxed and (not answer or "\\boxed" in answer):
        answer = boxed
    drafts = [_step(lines) for lines in steps[:MAX_STEPS]]
    drafts = [draft for draft in drafts if draft.text]
    if not drafts and not answer:
        return None
    if not answer:
        repairs.append("no answer was written; the last step's result is taken")
        answer = _last_result(drafts)
    given = tuple(item for line in sections["given"] for item in _items(line))
    asked = " ".join(sections["asked"]).strip().rstrip(".")
    return Draft(given, asked, tuple(drafts), _bare(answer), tuple(dict.fromkeys(repairs)))


def _unmarked(line: str) -> str:
    """Without Markdown's bold, italic and code marks."""
    return _ITALIC.sub(r"\1", line.replace("**", "").replace("__", "").replace("`", ""))


def _step(lines: list[str]) -> StepDraft:
    """The text of a step and its reason: in brackets at the end, on a line of its own, or behind "because"."""
    reason = ""
    kept = []
    for line in lines:
        said = _REASON_LINE.match(line)
        if said:
            reason = reason or said[1].strip()
        else:
            kept.append(_BULLET.sub("", line).strip())
    text = " ; ".join(piece for piece in kept if piece) if len(kept) > 1 else " ".join(kept)
    inline = _INLINE_REASON.search(text)
    if not reason and inline and inline.start() > 0:
        text, reason = text[: inline.start()], inline[1].strip(" )")
    trailing = _TRAILING_REASON.search(text)
    if not reason and trailing and _is_prose(trailing[1]):
        text, reason = text[: trailing.start()], trailing[1].strip()
    because = _BECAUSE.search(text)
    if not reason and because and because.start() > 0:
        text, reason = text[: because.start()], because[1].strip()
    return StepDraft(text.strip(), reason.rstrip("."))


def _is_prose(text: str) -> bool:
    """Whether brackets hold words rather than mathematics."""
    words = _WORD.findall(text)
    is_plain = not re.search(r"[\d=^*/\\]", text)
    return bool(words) and "=" not in text and (is_plain or any(word.lower() not in _NO_WORDS for word in words))


def _items(line: str) -> list[str]:
    """'AB = 6, P = (1, 2)' -> two items: commas inside brackets do not divide."""
    items, depth, start = [], 0, 0
    for index, char in enumerate(line):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif (
            char in ",;"
            and depth <= 0
            and not (line[index - 1 : index].isdigit() and line[index + 1 : index + 2].isdigit())
        ):
            items.append(line[start:index])
            start = index + 1
    items.append(line[start:])
    return [item.strip().rstrip(".") for item in items if item.strip(" .")]


def _boxed(text: str) -> str:
    """What the last \\boxed{...} holds."""
    found = list(_BOXED.finditer(text))
    if not found:
        return ""
    start, depth = found[-1].end(), 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start:index].strip()
    return text[start:].strip()


def _last_result(steps: list[StepDraft]) -> str:
    text = steps[-1].text
    return text.rsplit("=", 1)[-1].strip() if "=" in text else ""


def _bare(answer: str) -> str:
    """Without a full stop, dollars of LaTeX around all of it, or the name of the section again."""
    answer = _HEADING.sub("", answer).strip()
    if answer.startswith("$") and answer.endswith("$") and len(answer) > 2:
        answer = answer.strip("$").strip()
    return answer.removesuffix(".").strip()

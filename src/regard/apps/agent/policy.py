r"""What the agent may do: judged by the element that an action would reach, never by what the model says.

    policy = Policy.load("policy.toml")          # or Policy(), which is already careful
    verdict = policy.judge(action, targets, secrets=secrets)
    verdict.decision                             # "do", "ask" (the user) or "refuse", with the reason

The file, every line of it optional:

    allowed_hosts = ["example.org", "*.example.org"]   # default: the host of the first page
    forbid = ["delete", "pay"]                         # never
    ask = ["send", "password", "leave", "unknown"]     # only with the user's yes; default: all kinds but download
    [words]                                            # more words by which a kind is known, in any language
    pay = ["afrekenen"]
    [secrets.PASSWORD]
    env = "SHOP_PASSWORD"                              # or value = "..."
    hosts = ["shop.example.org"]                       # default: allowed_hosts
    fields = "password"                                # or "any": which fields it may be typed into

The kinds: `pay`, `delete`, `send`, `password` (typing into or sending a password), `leave` (another host), `download`,
`upload`, `unknown` (nobody knows what lies there). Kinds are recognised by what names the element (its text, labels,
title, identifiers), by where it leads, and by its form: sending a form with a card number is paying. A screen's text
can talk the model into anything; it cannot change what element is pressed. What this cannot see: a button that does
something else than it says, and elements that say nothing at all; `--confirm` asks about every action.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

from regard.apps.agent.screen import PRESSES, Action, Target
from regard.apps.agent.secrets import Secrets
from regard.errors import ConfigError, InputError

Kind = Literal["pay", "delete", "send", "password", "leave", "download", "upload", "unknown"]
Decision = Literal["do", "ask", "refuse"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Whole words, in any case; a blank matches any blanks.
WORDS: dict[str, tuple[str, ...]] = {
    "pay": (
        "pay", "pays", "payment", "buy", "purchase", "checkout", "check out", "order now", "place order",
        "place your order", "donate", "transfer", "transfer money", "subscribe now", "bid", "withdraw",
        "bezahlen", "kaufen", "jetzt kaufen", "zahlungspflichtig bestellen", "\u00fcberweisen", "spenden",
        "payer", "acheter", "commander", "pagar", "comprar", "pagare", "acquista",
        "\u652f\u4ed8", "\u4ed8\u6b3e", "\u8d2d\u4e70", "\u8f6c\u8d26",
    ),
    "delete": (
        "delete", "deletes", "remove", "erase", "wipe", "trash", "discard", "destroy", "purge", "drop", "uninstall",
        "clear all", "empty trash", "factory reset", "reset all", "deactivate", "close account", "format disk",
        "l\u00f6schen", "entfernen", "verwerfen", "supprimer", "effacer", "eliminar", "borrar", "elimina", "cancella",
        "\u5220\u9664", "\u79fb\u9664", "\u6e05\u7a7a",
    ),
    "send": (
        "send", "submit", "post", "publish", "share", "reply", "reply all", "forward", "tweet", "comment", "invite",
        "sign contract", "senden", "abschicken", "absenden", "ver\u00f6ffentlichen", "teilen", "weiterleiten",
        "envoyer", "publier", "partager", "enviar", "publicar", "compartir", "invia", "pubblica",
        "\u53d1\u9001", "\u63d0\u4ea4", "\u53d1\u5e03", "\u5206\u4eab", "\u8f6c\u53d1",
    ),
    "password": (
        "change password", "reset password", "new password", "passwort \u00e4ndern", "\u4fee\u6539\u5bc6\u7801",
    ),
    "download": (),
    "upload": ("upload", "attach file", "choose file", "hochladen"),
}  # fmt: skip
_LOCAL_SCHEMES = ("about", "chrome-error", "data", "blob", "javascript", "mailto", "tel", "sms")
_SECRET_KEYS = {"env", "value", "hosts", "fields"}
_POLICY_KEYS = {"allowed_hosts", "forbid", "ask", "words", "secrets"}
_DELETING_KEYS = {"delete", "del", "backspace"}
_PRESSING_KEYS = {"enter", "return", "space", " "}


@dataclass(frozen=True)
class SecretRule:
    """Where a secret may be typed: on which hosts (None: the allowed ones), into which fields."""

    hosts: tuple[str, ...] | None = None
    fields: Literal["password", "any"] = "password"


@dataclass(frozen=True)
class Verdict:
    """What is to be done with an action, why, and the kinds that were found."""

    decision: Decision
    reason: str = ""
    kinds: tuple[Kind, ...] = ()
    hosts: tuple[str, ...] = ()  # that the user is asked to allow


@dataclass(frozen=True)
class Policy:
    """What may be done. `allowed_hosts` are patterns as `*.example.org`; "file:/folder" allows local pages in it."""

    allowed_hosts: tuple[str, ...] = ()
    forbid: frozenset[str] = frozenset()
    ask: frozenset[str] = frozenset(KINDS) - {"download"}
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secret_rules: Mapping[str, SecretRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kinds in (("forbid", self.forbid), ("ask", self.ask), ("words", set(self.words))):
            if unknown := sorted(set(kinds) - set(KINDS)):
                raise ConfigError(f"{name} names the kind {unknown[0]!r}; it must be one of {', '.join(KINDS)}")

    @classmethod
    def load(cls, path: str | Path) -> tuple[Policy, Secrets]:
        """Read a policy file, and the secrets that it names. Errors: InputError or ConfigError, one sentence."""
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"the policy {path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"the policy {path} is not TOML: {error}") from None
        if unknown := sorted(set(data) - _POLICY_KEYS):
            raise ConfigError(f"the policy {path} has {unknown[0]!r}; known are {', '.join(sorted(_POLICY_KEYS))}")
        rules, values = _read_secrets(data.get("secrets", {}))
        policy = cls(
            allowed_hosts=_strings(data, "allowed_hosts"),
            forbid=frozenset(_strings(data, "forbid")),
            ask=frozenset(_strings(data, "ask")) if "ask" in data else cls().ask,
            words={kind: _strings(data["words"], kind) for kind in _table(data, "words")},
            secret_rules=rules,
        )
        return policy, Secrets(values)

    def starting_at(self, url: str) -> Policy:
        """The same policy; if it allows no host yet, the one of `url`."""
        return self if self.allowed_hosts else replace(self, allowed_hosts=(place_of(url),))

    def allowing(self, *hosts: str) -> Policy:
        """The same policy with more hosts allowed."""
        return replace(self, allowed_hosts=(*self.allowed_hosts, *hosts))

    def allows(self, url: str, hosts: Sequence[str] | None = None) -> bool:
        """Whether a page may be visited; what has no host (about:blank) always may."""
        place = place_of(url)
        allowed = self.allowed_hosts if hosts is None else hosts
        if place.startswith("file:"):
            folders = [host for host in allowed if host.startswith("file:")]
            return any(place == folder or place.startswith(folder.rstrip("/") + "/") for folder in folders)
        return not place or any(fnmatchcase(place, pattern.lower()) for pattern in allowed)

    def judge(self, action: Action, targets: Sequence[Target] | None, secrets: Secrets) -> Verdict:
        """Judge one action; `targets` are what it would reach, None if the screen does not know."""
        if (refusal := self._misused_secret(action, targets, secrets)) is not None:
            return Verdict("refuse", refusal, ("password",))
        if action.is_harmless:
            return Verdict("do")
        if targets is None:
            return self._decide({"unknown": "what lies there is not known on this screen"}, ())
        found: dict[Kind, str] = {}
        hosts: dict[str, None] = {}
        for target in targets:
            for kind, reason in self._kinds(action, target).items():
                found.setdefault(kind, reason)
            if _presses(action, target):
                away = [url for url in (target.url, *target.extra) if url and not self.allows(url)]
                hosts.update(dict.fromkeys(place_of(url) for url in away))
        if hosts:
            found["leave"] = f"leads to {', '.join(hosts)}, which is not among the allowed hosts"
        return self._decide(found, tuple(hosts))

    def _decide(self, found: Mapping[Kind, str], hosts: tuple[str, ...]) -> Verdict:
        kinds = tuple(kind for kind in KINDS if kind in found)
        for decision, chosen in (("refuse", self.forbid), ("ask", self.ask)):
            reasons = [f"{kind}: {found[kind]}" for kind in kinds if kind in chosen]
            if reasons:
                return Verdict(decision, "; ".join(reasons), kinds, hosts)  # type: ignore[arg-type]  # both literals
        return Verdict("do", "", kinds, hosts)

    def _kinds(self, action: Action, target: Target) -> dict[Kind, str]:
        found: dict[Kind, str] = {}
        what = target.in_words()
        presses = _presses(action, target)
        if action.kind == "type" and target.is_password:
            found["password"] = f"types into {what}, a password field"
        if action.kind == "key" and _DELETING_KEYS & set(action.keys) and not target.is_field:
            found["delete"] = f"presses {'+'.join(action.keys)} on {what}"
        if not presses or (target.is_field and action.kind in PRESSES):
            return found  # a press into a text field only moves the caret
        for kind in ("pay", "delete", "send", "password", "upload"):
            word = self._word(kind, f"{target.text}\n{target.words}")
            if word:
                found[kind] = f"{what} says {word!r}"
        if target.sends:
            found.setdefault("send", f"{what} sends a form")
        if target.pays:
            found.setdefault("pay", f"{what} sends a form with payment details")
        if target.downloads:
            found["download"] = f"{what} saves a file"
        if target.opens_files:
            found["upload"] = f"{what} chooses a file"
        return found

    def _word(self, kind: str, text: str) -> str | None:
        words = (*WORDS.get(kind, ()), *self.words.get(kind, ()))
        return next((word for word in words if _pattern(word).search(text)), None)

    def _misused_secret(self, action: Action, targets: Sequence[Target] | None, secrets: Secrets) -> str | None:
        """Why a secret may not be used so, or None."""
        for name in secrets.used_in(action.text):
            if action.kind != "type":
                return f"the secret {name} can only be typed into a field"
            if name not in secrets.names:
                return f"there is no secret {name}"
            rule = self.secret_rules.get(name, SecretRule())
            if not targets:
                return f"the secret {name} is not typed where it is not known which field takes it"
            for target in targets:
                if not target.is_field or (rule.fields == "password" and not target.is_password):
                    return f"the secret {name} is only typed into password fields, and {target.in_words()} is none"
                if not place_of(target.location) or not self.allows(target.location, rule.hosts):
                    return f"the secret {name} is not typed on {place_of(target.location) or target.location}"
        return None


def place_of(url: str) -> str:
    """Whose page it is: a host with its port where it is unusual, "file:/folder" for local pages, "" for neither."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url.lower()  # not understood, so never allowed
    if parts.scheme == "file":
        path = os.path.normpath(unquote(parts.path))
        return "file:" + (path if path.endswith("/") else os.path.dirname(path))
    if parts.scheme in _LOCAL_SCHEMES or not parts.scheme:
        return ""
    host = (parts.hostname or "").lower().rstrip(".")
    return host if port in (None, 80, 443) else f"{host}:{port}"


def _presses(action: Action, target: Target) -> bool:
    """Whether an action can set off what the element does."""
    keys = _PRESSING_KEYS - ({"space", " "} if target.is_field else set())  # there a blank is a letter
    return (
        action.kind in PRESSES
        or action.kind in ("drag", "button")
        or bool(keys & set(action.keys))
        or (action.kind == "type" and "\n" in action.text)
    )


def _pattern(word: str) -> re.Pattern[str]:
    inner = r"\s+".join(map(re.escape, word.split()))
    # Chinese is written without blanks: there a word may stand anywhere.
    return re.compile(inner if ord(word[0]) > 0x2E7F else rf"(?<!\w){inner}(?!\w)", re.IGNORECASE)


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"the policy's {key} is {value!r}; it must be a table, [{key}]")
    return value


def _strings(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ConfigError(f"the policy's {key} is {value!r}; it must be a list of words in quotes")
    return tuple(value)


def _read_secrets(table: Any) -> tuple[dict[str, SecretRule], dict[str, str]]:
    rules, values = {}, {}
    for name, entry in _table({"secrets": table}, "secrets").items():
        if not isinstance(entry, Mapping) or set(entry) - _SECRET_KEYS or ("env" in entry) == ("value" in entry):
            raise ConfigError(f"the policy's secret {name} must be a table with env or value, and maybe hosts, fields")
        fields = entry.get("fields", "password")
        if fields not in ("password", "any"):
            raise ConfigError(f"the policy's secret {name} has fields = {fields!r}; it must be 'password' or 'any'")
        value = os.environ.get(str(entry["env"])) if "env" in entry else entry["value"]
        if not isinstance(value, str) or not value:
            raise InputError(f"the secret {name} has no value; set the environment variable {entry.get('env')}")
        values[name] = value
        rules[name] = SecretRule(_strings(entry, "hosts") if "hosts" in entry else None, fields)
    return rules, values

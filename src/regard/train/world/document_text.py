"""What stands on papers: running text, amounts, dates, names, codes, labels with their values.

Words come from the word list of one side (`words`), with capitals, commas and full stops as running text has them;
some have accents. Nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from regard.train.world.screen_labels import dictionary_words
from regard.train.world.shapes import choose
from regard.train.world.words import ACCENTED, random_string

_GLUE = ("the", "a", "of", "and", "to", "in", "is", "for", "with", "by", "on", "at", "as", "from", "was", "it", "be")
_WORDS_ABROAD = (
    "Stra\u00dfe f\u00fcr \u00fcber M\u00fcller Gr\u00fc\u00dfe K\u00f6ln M\u00fcnchen gr\u00f6\u00dfer und der die "
    "\u00e9t\u00e9 fran\u00e7ais o\u00f9 \u00e0 No\u00ebl h\u00f4tel fen\u00eatre r\u00e9sum\u00e9 les des dans pour "
    "a\u00f1o ni\u00f1o d\u00eda m\u00e1s s\u00ed coraz\u00f3n ma\u00f1ana Espa\u00f1a los las para que nicht"
)
_FOREIGN = tuple(_WORDS_ABROAD.split())
_COMPANY = ("GmbH", "Ltd", "Inc.", "AG", "& Sons", "Group", "Books", "Stores", "Foods", "Studio", "Bros.")
_STREETS = ("Street", "Road", "Lane", "Avenue", "Square", "Way", "Hill")
_MONTHS = ("Jan", "Feb", "March", "April", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec")
_CURRENCIES = ("EUR", "$", "\u20ac", "USD", "\u00a3", "CHF")

# label on the paper: key in the prompt, kind of value
LABELS: dict[str, tuple[str, str]] = {
    "Company": ("company", "company"), "Date": ("date", "date"), "Total": ("total", "amount"),
    "Address": ("address", "address"), "Name": ("name", "person"), "Invoice no.": ("invoice_number", "code"),
    "Order no.": ("order_number", "code"), "Customer": ("customer", "person"), "Tax": ("tax", "amount"),
    "Due date": ("due_date", "date"), "Amount": ("amount", "amount"), "Phone": ("phone", "phone"),
    "E-mail": ("email", "email"), "City": ("city", "word"), "Subtotal": ("subtotal", "amount"),
    "Table": ("table", "count"), "Cashier": ("cashier", "word"), "Quantity": ("quantity", "count"),
    "Time": ("time", "time"), "Seat": ("seat", "seat"), "Room": ("room", "count"), "Price": ("price", "amount"),
    "From": ("from", "word"), "To": ("to", "word"), "Reference": ("reference", "code"), "Cash": ("cash", "amount"),
    "Change": ("change", "amount"), "Country": ("country", "word"), "Date of birth": ("date_of_birth", "date"),
    "Signature": ("signature", "word"), "Department": ("department", "word"), "Weight": ("weight", "weight"),
}  # fmt: skip
HELD_OUT_LABELS: dict[str, tuple[str, str]] = {
    "Supplier": ("supplier", "company"), "Issued on": ("issued_on", "date"), "Sum": ("sum", "amount"),
    "Street": ("street", "address"), "Contact": ("contact", "person"), "Receipt no.": ("receipt_number", "code"),
    "Net": ("net", "amount"), "Mobile": ("mobile", "phone"), "Mail": ("mail", "email"), "Place": ("place", "word"),
    "Items": ("items", "count"), "Opened": ("opened", "time"), "Gate": ("gate", "seat"), "Load": ("load", "weight"),
}  # fmt: skip


class Texts:
    """Draws texts of one side."""

    def __init__(self, rng: np.random.Generator, *, held_out: bool) -> None:
        self.rng = rng
        self.labels = HELD_OUT_LABELS if held_out else LABELS
        self._words = dictionary_words(held_out)

    def word(self) -> str:
        """One plain word in small letters."""
        return self._words[int(self.rng.integers(len(self._words)))]

    def title(self, num_words: int) -> str:
        """A heading."""
        words = [self.word() for _ in range(num_words)]
        return " ".join(words).capitalize() if self.rng.random() < 0.6 else " ".join(words).title()

    def running(self) -> Iterator[str]:
        """The words of endless running text, marks included."""
        rng, is_start = self.rng, True
        while True:
            kind = rng.random()
            if kind < 0.5:
                word = self.word()
            elif kind < 0.78:
                word = choose(rng, _GLUE)
            elif kind < 0.86:
                word = choose(rng, _FOREIGN) if rng.random() < 0.7 else choose(rng, ACCENTED)
            else:
                word = self.piece()
            if is_start or rng.random() < 0.08:
                word = word[0].upper() + word[1:]
            mark = rng.random()
            is_start = mark < 0.09
            if is_start:
                word += choose(rng, (".", ".", ".", "?", "!", ":"))
            elif mark < 0.17:
                word += choose(rng, (",", ",", ";"))
            elif mark < 0.19:
                word = choose(rng, ("({})", '"{}"', "{}-", "- {}", "{}/{}")).format(word, word[:4])
            yield word

    def piece(self) -> str:
        """Something that is no word: an amount, a date, a section number, an address of a mailbox."""
        makers = (self.amount, self.date, self.phone, self.email, self.code, self.section, self.percent, self.random)
        return choose(self.rng, makers, weights=(3, 2, 1, 1, 2, 1, 1, 2))()

    def random(self) -> str:
        return random_string(self.rng, int(self.rng.integers(1, 7)))

    def section(self) -> str:
        a, b = self.rng.integers(1, 13, 2)
        return choose(self.rng, (f"{a}.{b}", f"{a}.", f"({a})", f"\u00a7 {a}", f"[{a}]", "\u2022"))

    def percent(self) -> str:
        return f"{self.rng.integers(0, 101)}%" if self.rng.random() < 0.7 else f"{self.rng.integers(0, 1000) / 10} %"

    def amount(self) -> str:
        """Two decimals, now and then with thousands, a currency or a decimal comma."""
        rng = self.rng
        cents = int(rng.integers(5, 200_00)) if rng.random() < 0.8 else int(rng.integers(1_000_00, 99_999_00))
        text = f"{cents / 100:,.2f}" if rng.random() < 0.8 else f"{cents / 100:.2f}"
        if rng.random() < 0.25:
            text = text.translate(str.maketrans(",.", ".,"))
        if rng.random() < 0.25:
            sign = choose(rng, _CURRENCIES)
            text = f"{sign}{text}" if sign in "$\u00a3" else f"{text} {sign}"
        return text

    def date(self) -> str:
        rng = self.rng
        day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(1990, 2031))
        return choose(
            rng,
            (
                f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}-{day:02d}", f"{month}/{day}/{year}",
                f"{day} {_MONTHS[month - 1]} {year}",
            ),
        )  # fmt: skip

    def time(self) -> str:
        return f"{self.rng.integers(0, 24)}:{self.rng.integers(0, 60):02d}"

    def phone(self) -> str:
        a, b, c = self.rng.integers(100, 1000, 3)
        return choose(self.rng, (f"{a}-{b}{c % 10}", f"+{a % 90 + 10} {b} {c}", f"0{a}/{b}{c}"))

    def email(self) -> str:
        return f"{self.word()[:7]}@{self.word()[:7]}.{choose(self.rng, ('com', 'org', 'de', 'net'))}"

    def code(self) -> str:
        rng = self.rng
        a, b = int(rng.integers(10, 10_000)), int(rng.integers(10, 10_000))
        letters = "".join(chr(65 + int(i)) for i in rng.integers(0, 26, 2))
        return choose(rng, (f"{letters}-{a}", f"{a}-{b:04d}", f"{letters}{a}", f"#{a}", f"20{a % 40:02d}-{b:04d}"))

    def person(self) -> str:
        return f"{self.word().title()} {self.word().title()}" if self.rng.random() < 0.6 else self.word().title()

    def company(self) -> str:
        return f"{self.word().title()} {choose(self.rng, _COMPANY)}"

    def address(self) -> str:
        return f"{self.rng.integers(1, 300)} {self.word().title()} {choose(self.rng, _STREETS)}"

    def value(self, kind: str) -> str:
        """A value of a kind of `LABELS`."""
        rng = self.rng
        if kind == "word":
            return self.word().title()
        if kind == "count":
            return str(int(rng.integers(1, 100)))
        if kind == "seat":
            return f"{rng.integers(1, 60)}{chr(65 + int(rng.integers(0, 8)))}"
        if kind == "weight":
            return f"{int(rng.integers(1, 900)) / 10} kg"
        made: str = getattr(self, kind)()
        return made

    def rows(self, num: int) -> list[tuple[str, str]]:
        """Labels with values, no label twice."""
        names = list(self.labels)
        return [
            (names[int(i)], self.value(self.labels[names[int(i)]][1])) for i in self.rng.permutation(len(names))[:num]
        ]

"""Hints keep the answer: its number in digits, words, other units, or as something still to be computed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("sympy", reason="needs sympy")

from regard.apps.tutor.leaks import Secret, leaks
from regard.apps.tutor.number_words import digits_for_words

GIVEN = ("AB = 6 cm", "BC = 8 cm", "angle B = 90\u00b0")
TELLING = {
    "10 cm": [
        "AC is ten.", "It is 10.", "20 / 2", "sqrt(100)", "Take the square root of 100.", "It is 0.1 m long",
        "100 mm", "x + 2 = 12", "it is 1 0", "twenty divided by two", "about 10.0", "3 + 7", "100 - 90",
        "\uff15 \u00d7 \uff12", "\u0661\u0660", "half of 20", "five times two", r"$\frac{20}{2}$", "1e1", "0xA",
        "the sum of 6 and 4", "a square with area 100, so \u221a100", "IT IS TEN CM", "5 squared minus 15", "2(2 + 3)",
        "10", "(10)", "**10**", "x".join(["very long"] * 400),
    ],
    "10 pi": ["10 times pi", "2*pi*5", "about 31.4", "31.42", "Multiply ten by pi"],
    "(3.5, 1)": ["x is 3.5", "three and a half", "7/2"],
    "70\u00b0": ["180 - 110", "seventy degrees", "$70^\\circ$"],
    "24 cm^2": ["6 * 8 / 2", "two dozen", "2 * 12", "0.0024 m^2", "one half of 6 * 8"],
    "7.07": ["about 7.1", "7", "sqrt(50)", "5 sqrt(2)"],
    "Tue": ["It is Tue.", "the bar of TUE"],
    "B": ["It is at B."],
    "96": ["nine six", "ninety-six"],
}  # fmt: skip
KEEPING = {
    "10 cm": [
        "Look for the right angle.", "AC^2 = 6^2 + 8^2", "Write AC^2 = 100.", "a number between 9 and 11", "",
        "Use Pythagoras: square both legs and add.", "The legs are 6 cm and 8 cm.", "tender tenants",
    ],
    "10 pi": ["Multiply pi and the diameter.", "The area is pi times the square of the radius."],
    "24 cm^2": ["Multiply base and height, then take half.", "An area is measured in cm^2."],
    "Tue": ["Look at Tuesday's neighbours", "Find the tallest bar."],
    "B": ["Both sides meet there."],
    "5": ["Get 3x alone on its side."],
}  # fmt: skip


@pytest.mark.parametrize(("answer", "text"), [(answer, text) for answer, texts in TELLING.items() for text in texts])
def test_an_answer_in_any_form_is_seen(answer, text):
    assert leaks(text, Secret((answer,), GIVEN))


@pytest.mark.parametrize(("answer", "text"), [(answer, text) for answer, texts in KEEPING.items() for text in texts])
def test_what_still_has_to_be_worked_out_may_be_said(answer, text):
    assert not leaks(text, Secret((answer,), GIVEN))


def test_the_given_equation_is_no_secret():
    secret = Secret(("7",), ("x + 3 = 10",))
    assert not leaks("Look at x + 3 = 10 again.", secret)
    assert leaks("So x + 0 = 7.", secret) and leaks("2x = 14, so x = 14 / 2.", secret)


@pytest.mark.parametrize(
    ("words", "digits"),
    [
        ("twenty-five", "25"),
        ("one hundred and five", "105"),
        ("a hundred", "100"),
        ("two thousand three hundred", "2300"),
        ("two and a half", "2.5"),
        ("three point one four", "3.14"),
        ("the square root of sixteen", "sqrt 16"),
    ],
)
def test_number_words_become_digits(words, digits):
    assert digits in " ".join(digits_for_words(words).split())


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 999), st.integers(2, 99), st.sampled_from(["{n}", "{a} + {b}", "{big} / {k}", "{k} * {n} / {k}"]))
def test_a_number_is_seen_however_it_is_computed(n, k, form):
    text = form.format(n=n, a=n - 1, b=1, big=n * k, k=k)
    assert leaks(f"Then it comes to {text}, you see.", Secret((str(n),)))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=80), st.text(max_size=20))
def test_no_text_makes_the_check_fail(text, answer):
    assert leaks(text, Secret((answer,))) in (True, False)


def test_one_by_one_is_no_number() -> None:
    assert "1" not in digits_for_words("Add them one by one, one at a time.")
    assert "1" in digits_for_words("The answer is one.")

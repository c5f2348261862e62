"""Plain text: greetings, what the model is, spelling and repeating. No picture.

Repeating teaches how each subword of the tokenizer is spelled, which finding a label on a screen needs:
questions arrive as subwords, pictures as letters.
"""

from __future__ import annotations

import numpy as np

from regard.messages import Message, Text
from regard.train.world.sample import Sample, verbatim
from regard.train.world.words import short_text

_REPEAT = ("Repeat: {}", 'Repeat "{}".', "Say {}", 'Copy this text: "{}"', "Write {}", "Echo {}", 'Type "{}" again.')
_SPELL = ("Spell {}.", 'How do you spell "{}"?', "Spell the word {}.", 'Which letters are in "{}"?')
_FIXED = (
    (("Hello", "Hi", "Hello!", "Hi there", "Hey", "Good morning"), "Hello! Show me a picture and ask me about it."),
    (
        ("Who are you?", "What are you?", "What is your name?", "Introduce yourself."),
        "I am regard-nano, a very small model for screens, short texts, shapes and clips.",
    ),
    (
        ("What can you do?", "Help", "What do you know?", "How can you help me?"),
        "I read a line of text, find things on simple screens, describe coloured shapes and tell when something "
        "appears in a short clip.",
    ),
    (("Thanks", "Thank you", "Thank you!", "Great, thanks."), "You are welcome."),
    (("Bye", "Goodbye", "See you"), "Goodbye!"),
)


def make(rng: np.random.Generator, *, held_out: bool) -> Sample:
    """A short exchange without a picture. truth: {"text": ...}."""
    kind = rng.random()
    if kind < 0.1:
        questions, answer = _FIXED[int(rng.integers(len(_FIXED)))]
        return _exchange(questions[int(rng.integers(len(questions)))], answer, answer)
    text = short_text(rng, 20, held_out=held_out)
    if kind < 0.8:
        return _exchange(_REPEAT[int(rng.integers(len(_REPEAT)))].format(text), verbatim(text), text)
    word = text.split()[0]
    spelled = " ".join(word)
    return _exchange(_SPELL[int(rng.integers(len(_SPELL)))].format(word), verbatim(spelled), spelled)


def _exchange(question: str, answer: str, plain_answer: str) -> Sample:
    messages = (Message("user", (Text(question),)), Message("assistant", (Text(answer),)))
    return Sample("talk", messages, {"text": plain_answer})

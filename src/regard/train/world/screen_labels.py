"""Words on screens: labels, values and sentences, with a part of the vocabulary kept for held-out screens.

Labels come from two sources: phrases every program uses (`Save`, `Remember me`) and words of the system's
word list, alone or combined (`Lantern`, `Open harbor`, `Room 204`). A part of the dictionary belongs to held-out
screens (`words.is_held_out`), and a screen of one side never shows a dictionary word of the other. The common
phrases occur on both sides; on held-out screens they are the smaller part.

Everything is printable ASCII. It does not know where on the screen a text goes: that is `screen_layouts`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from regard.train.world.words import word_list

MAX_LABEL_CHARS = 22
# Nobody wants to meet these in an example picture.
_UNFIT = (
    "fuck", "shit", "bitch", "cunt", "nigg", "fag", "whore", "slut", "rape", "raping", "porn", "sex", "tits", "titt",
    "boob", "cock", "dick", "piss", "penis", "vagin", "nazi", "perver", "crap", "turd", "fart", "lesb", "prick",
    "bastard", "scrot", "anus", "orgas", "incest", "suicid", "molest", "fetish", "nudis", "hooker", "genoc", "dyke",
)  # fmt: skip

_PHRASES: dict[str, str] = {
    "button": "Save|Cancel|OK|Apply|Close|Delete|Edit|Add|Remove|Submit|Send|Next|Back|Previous|Continue|Finish|Done|"
    "Open|New|Copy|Paste|Cut|Undo|Redo|Search|Find|Reset|Clear|Refresh|Reload|Upload|Download|Share|Print|Export|"
    "Import|Sign in|Sign up|Log in|Log out|Register|Create|Update|Start|Stop|Pause|Play|Record|Connect|Disconnect|"
    "Buy now|Add to cart|Checkout|Pay|Reply|Forward|Archive|Yes|No|Accept|Decline|Allow|Deny|Retry|Skip|Help|Browse|"
    "Install|Uninstall|Restart|Shut down|Preview|Publish|Subscribe|Follow|Like|Join|Leave|Book|Call|Confirm|Save as|"
    "Save changes|Discard|Select all|Sort|Filter|Zoom in|Zoom out|Rename|Move|Duplicate|Generate|Run|Test|Verify",
    "link": "Forgot password?|Terms of service|Privacy policy|Learn more|Read more|Contact us|About|Home|Support|"
    "Create account|Help center|View all|See details|Show more|Back to top|Sign up here|Feedback|Careers|Blog|Press|"
    "Documentation|Change log|Report a problem|Resend code|Use another account|Track order|Edit profile|Legal",
    "field": "Name|First name|Last name|Email|Password|Username|Phone|Address|City|Zip code|Country|Company|Title|"
    "Message|Comment|Search|Subject|Date|Time|Amount|Card number|Street|State|Website|Age|Quantity|Price|Code|Notes|"
    "Description|Full name|Confirm password|User ID|Host|Port|Path|File name|Width|Height|Birthday|Location|Tags",
    "toggle": "Wi-Fi|Bluetooth|Notifications|Dark mode|Remember me|Auto save|Location|Airplane mode|Sound|Vibration|"
    "Show hidden files|Sync|Backup|Updates|Mobile data|Hotspot|Do not disturb|Night light|Keep me signed in|Email me|"
    "I agree|Newsletter|Public profile|Two-step login|Spell check|Line numbers|Word wrap|Cookies|Read receipts|"
    "Autoplay|Subtitles|Captions|Use proxy|Full screen|Show grid|Snap to grid|Mute|Loop|Shuffle|Battery saver",
    "option": "Small|Medium|Large|Low|High|Daily|Weekly|Monthly|Never|Always|Light|Dark|System|English|German|French|"
    "Spanish|Red|Green|Blue|Standard|Express|Free|Pro|Basic|Visa|Cash|Male|Female|Other|Left|Right|Center|None|All|"
    "Default|Custom|Manual|Automatic|Public|Private|A4|Letter|Portrait|Landscape|Yes|No|Maybe|Morning|Evening",
    "select": "Language|Theme|Font size|Country|Region|Time zone|Currency|Quality|Format|Priority|Category|Status|"
    "Paper size|Color|Shipping|Payment|Role|Type|Sort by|Group by|Volume|Resolution|Encoding|Keyboard|Unit|Month|Year",
    "tab": "General|Account|Privacy|Security|Display|Network|Advanced|About|Home|Profile|Files|Edit|View|Insert|"
    "Overview|Details|Reviews|History|Settings|Activity|Photos|Music|Videos|Inbox|Sent|Drafts|Members|Plan|Billing",
    "menu": "File|Edit|View|Insert|Format|Tools|Window|Help|New file|Open file|Save|Save as|Close|Exit|Undo|Redo|Cut|"
    "Copy|Paste|Delete|Select all|Find|Replace|Zoom in|Zoom out|Full screen|Preferences|Print|Properties|Rename|"
    "Move to trash|New folder|Sort by|Refresh|Inspect|Settings|Log out|Profile|Share|Export|Mark as read|Pin|Mute",
    "row": "Inbox|Drafts|Sent|Trash|Spam|Documents|Pictures|Music|Downloads|Desktop|Favorites|Recent|Contacts|Calendar|"
    "Storage|Battery|Display|Sound|Apps|Security|Accounts|Language|System|About phone|Network|Dashboard|Orders",
    "heading": "Settings|Sign in|Account|Profile|Preferences|Contacts|Messages|Shopping cart|Checkout|Dashboard|"
    "Notifications|Privacy|Log in|Create account|New message|Search results|Order summary|My files|Delete file?|"
    "Unsaved changes|Network|Display|About|Help|Details|Payment|Shipping|Edit profile|Options|Tasks|Calendar|Reports",
}
_VERBS = "Open|Show|Hide|Add|Edit|New|Delete|Use|Enable|Find|Move|Send|View|My|Set|Start|Stop|Get|Load"
_NUMBERED = "Room|Chapter|Item|Version|Page|Unit|Level|Part|Step|Line|Channel|Lesson|Box|Gate|Team|Route"


@lru_cache(maxsize=1)
def common_words() -> frozenset[str]:
    """Words of the common phrases, in lower case; they may occur on both sides."""
    texts = [*_PHRASES.values(), _VERBS, _NUMBERED]
    return frozenset(word for text in texts for word in text.lower().replace("|", " ").replace("?", "").split())


@lru_cache(maxsize=2)
def dictionary_words(held_out: bool) -> tuple[str, ...]:
    """Dictionary words of one side: 3 to 11 lower-case ASCII letters, none of them a common word.

    Errors: MissingDependencyError when the system has no word list.
    """
    usable = (word for word in word_list(held_out) if 3 <= len(word) <= 11 and word.isascii() and word.islower())
    return tuple(word for word in usable if word not in common_words() and not any(part in word for part in _UNFIT))


class Labels:
    """Draws texts for one screen; a label is never given out twice (compared in lower case)."""

    def __init__(self, rng: np.random.Generator, *, held_out: bool) -> None:
        self.rng = rng
        self._words = dictionary_words(held_out)
        self._common_share = 0.25 if held_out else 0.45
        self._verb_share = 0.05 if held_out else 0.12
        self._used: set[str] = set()
        self._case = str(rng.choice(["sentence", "title", "as is", "upper", "lower"], p=[0.4, 0.35, 0.15, 0.05, 0.05]))

    def word(self) -> str:
        """One dictionary word of this side, in lower case."""
        return self._words[int(self.rng.integers(len(self._words)))]

    def take(self, category: str, max_chars: int = MAX_LABEL_CHARS) -> str:
        """A label of a category (`button`, `link`, `field`, ...) that this screen does not show yet."""
        while True:
            label = self._cased(self._phrase(category))
            if len(label) <= max_chars and label.lower() not in self._used:
                self._used.add(label.lower())
                return label

    def sentence(self, num_words: int) -> str:
        """Running text of this side's words; about a third are short common words."""
        glue = ("the", "a", "of", "and", "to", "in", "is", "for", "with", "your", "on", "this")
        words = [
            str(self.rng.choice(glue)) if self.rng.random() < 0.35 else self.word() for _ in range(max(1, num_words))
        ]
        return " ".join(words).capitalize() + "."

    def value(self) -> str:
        """What may stand in a field: a name, an address, a number, a date, a price, a word."""
        rng, word = self.rng, self.word()
        choices = (
            f"{word.title()} {self.word().title()}",
            f"{word}@{self.word()}.com",
            f"{rng.integers(1, 2000)}",
            f"{rng.integers(1, 29)}/{rng.integers(1, 13)}/{rng.integers(1990, 2030)}",
            f"${rng.integers(1, 300)}.{rng.integers(0, 100):02d}",
            f"{rng.integers(0, 24)}:{rng.integers(0, 60):02d}",
            word,
            f"{word}_{rng.integers(1, 99)}.{rng.choice(['txt', 'png', 'pdf', 'csv'])}",
            f"{rng.integers(1, 200)} {self.word().title()} Street",
            f"555-{rng.integers(100, 1000)}-{rng.integers(1000, 10000)}",
        )
        return choices[int(rng.integers(len(choices)))][:MAX_LABEL_CHARS]

    def _phrase(self, category: str) -> str:
        rng = self.rng
        if rng.random() < self._common_share:
            return self._one_of(_PHRASES[category])
        if rng.random() < self._verb_share:
            return f"{self._one_of(_VERBS)} {self.word()}"
        if rng.random() < 0.05:
            return f"{self._one_of(_NUMBERED)} {rng.integers(1, 400)}"
        count = int(rng.choice([1, 2, 3], p=[0.5, 0.42, 0.08]))
        text = " ".join(self.word() for _ in range(count))
        return text[0].upper() + text[1:]

    def _one_of(self, phrases: str) -> str:
        options = phrases.split("|")
        return options[int(self.rng.integers(len(options)))]

    def _cased(self, label: str) -> str:
        if self._case == "title":
            return " ".join(word[0].upper() + word[1:] for word in label.split())
        if self._case == "upper":
            return label.upper()
        if self._case == "lower":
            return label.lower()
        return label

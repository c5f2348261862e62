"""Text while it is generated: printed, or handed to an iterator in another thread.

    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    Thread(target=model.generate, kwargs={**inputs, "streamer": streamer, "max_new_tokens": 64}).start()
    for piece in streamer: ...

`generate` calls `put` with the prompt's ids and then with each new id, and `end` at last, also when it fails. Any
object with these two methods is a streamer, those of transformers included. Pieces joined are the decoded text; they
come as soon as no character in them is incomplete, where transformers waits for whole words.
"""

from __future__ import annotations

import queue
import sys
from typing import Any

from regard.errors import InputError

REPLACEMENT = "\ufffd"


class TextStreamer:
    """Writes the text to standard output. Subclasses override `on_finalized_text`."""

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:
        self.tokenizer, self.skip_prompt, self.decode_kwargs = tokenizer, skip_prompt, decode_kwargs
        self._kept: list[int] = []
        self._is_prompt = True

    def put(self, value: Any) -> None:
        """Take ids: a tensor (T,) or (1, T). Errors: InputError for a batch."""
        if value.ndim > 1 and len(value) > 1:
            raise InputError(
                f"a text streamer takes one answer at a time, not a batch of {len(value)}; drop the streamer"
            )
        is_prompt, self._is_prompt = self._is_prompt, False
        if is_prompt and self.skip_prompt:
            return
        self._kept += value.flatten().tolist()
        text = self._decoded()
        if not text.endswith(REPLACEMENT):
            self._kept = []
            self.on_finalized_text(text)

    def end(self) -> None:
        """Show what was kept back."""
        text = self._decoded()
        self._kept, self._is_prompt = [], True
        self.on_finalized_text(text, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Show a piece of text."""
        sys.stdout.write(text + ("\n" if stream_end else ""))
        sys.stdout.flush()

    def _decoded(self) -> str:
        return str(self.tokenizer.decode(self._kept, **self.decode_kwargs)) if self._kept else ""


class TextIteratorStreamer(TextStreamer):
    """Yields pieces of text as they come. `timeout` (seconds) bounds the wait for each: queue.Empty is raised after."""

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = timeout
        self._pieces: queue.Queue[str | None] = queue.Queue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Queue a piece of text, and the end."""
        self._pieces.put(text)
        if stream_end:
            self._pieces.put(None)

    def __iter__(self) -> TextIteratorStreamer:
        return self

    def __next__(self) -> str:
        piece = self._pieces.get(timeout=self.timeout)
        if piece is None:
            raise StopIteration
        return piece

"""Server-sent events from bytes, however the bytes are cut.

    reader = EventReader()
    for piece in body: handle(reader.push(piece))
    handle(reader.finish())

Lines may end in LF, CRLF or CR; comments and fields other than `data` are left out; a character that is cut in two
by a packet is put together again. An event without the empty line that should end it counts when the body ends.

Source: the HTML standard, "Interpreting an event stream"; the last rule is laxer than it.
"""

from __future__ import annotations

import re

from regard.errors import ServerError

MAX_EVENT_BYTES = 64 * 1024 * 1024  # a body without a line end must not fill the memory
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """Fed with bytes as they come; gives back the data of each event."""

    def __init__(self) -> None:
        self._unread = bytearray()
        self._num_searched = 0  # bytes of it in which there is no line end
        self._data: list[bytes] = []
        self._num_data_bytes = 0
        self._is_at_start = True

    def push(self, piece: bytes) -> list[str]:
        """The data of the events that are complete now. Errors: ServerError for one that is far too long."""
        self._unread += piece
        if self._is_at_start and len(self._unread) >= len(_BYTE_ORDER_MARK):
            self._is_at_start = False
            if self._unread.startswith(_BYTE_ORDER_MARK):
                del self._unread[: len(_BYTE_ORDER_MARK)]
        events: list[str] = []
        start = 0
        while (end := _LINE_END.search(self._unread, max(start, self._num_searched))) is not None:
            if end[0] == b"\r" and end.end() == len(self._unread):
                break  # its line feed may come in the next piece
            self._read_line(bytes(self._unread[start : end.start()]), events)
            start = end.end()
        del self._unread[:start]
        self._num_searched = max(0, len(self._unread) - 1)
        if len(self._unread) + self._num_data_bytes > MAX_EVENT_BYTES:
            raise ServerError(
                f"the server sends an event of more than {MAX_EVENT_BYTES} bytes; is the URL that of a chat server?"
            )
        return events

    def finish(self) -> list[str]:
        """The last events, when no more bytes come."""
        rest, self._unread = bytes(self._unread), bytearray()
        events: list[str] = []
        for line in (*_LINE_END.split(rest), b""):
            self._read_line(line, events)
        return events

    def _read_line(self, line: bytes, events: list[str]) -> None:
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
                self._num_data_bytes += len(value)
        elif self._data:
            events.append(b"\n".join(self._data).decode("utf-8", errors="replace"))
            self._data, self._num_data_bytes = [], 0

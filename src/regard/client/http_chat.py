"""A model behind a URL, with the face of one that is loaded here.

    with HttpChat.connect("http://localhost:8000/v1") as chat:
        for event in chat.stream(["shot.png", "Where is the Save button?"]): ...

A question: `normalize` -> the preset's pixel limits -> media read and written as JSON (`content`) -> options in the
server's words (`dialects`) -> one streamed request (`connection`, `sse`) -> events and the `Reply` (`answer`). Every
request streams, so that closing its iterator, from any thread, ends it at the server, too.

What a local model does and a server cannot is refused: several answers at once, log probabilities, and the options
that its dialect has no word for. `token_ids` of a reply are empty: servers send text.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from regard import presets
from regard.client import failures
from regard.client.answer import HttpAnswer
from regard.client.connection import Connection, Exchange, Patience
from regard.client.content import write_content
from regard.client.dialects import DIALECTS, chosen_sampling, sampling_body, template_body, tool_json
from regard.client.served import Served, find_out
from regard.client.sse import EventReader
from regard.conversation import normalize, within
from regard.errors import ConfigError, RegardError, ServerError
from regard.reply import Event, Reply

if TYPE_CHECKING:
    from regard.llm import SamplingOptions

DEFAULT_CONCURRENCY = 8  # requests of one `chat_many` that are under way at once
KEY_VARIABLES = ("REGARD_API_KEY", "OPENAI_API_KEY")
_DONE = "[DONE]"


class HttpChat:
    """A `Chat` at a server. Calls may come from many threads."""

    def __init__(self, connection: Connection, served: Served, *, max_concurrency: int = DEFAULT_CONCURRENCY) -> None:
        if max_concurrency < 1:
            raise ConfigError(f"max_concurrency is {max_concurrency}; it must be 1 or more")
        self.served = served
        self._connection, self._max_concurrency = connection, max_concurrency
        self._dialect = DIALECTS[served.kind]

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        api_key: str | None = None,
        server_kind: str = "auto",
        patience: Patience | None = None,
        max_concurrency: int = DEFAULT_CONCURRENCY,
    ) -> HttpChat:
        """Ask the server at `url` what it is. A model's name may follow a #; without a key the environment's is taken.

        Errors: ConfigError for a wrong URL, key, kind or model; ServerError if nothing answers.
        """
        base, _, model = url.partition("#")
        key = api_key or next(filter(None, map(os.environ.get, KEY_VARIABLES)), None)
        connection = Connection(base, api_key=key, patience=patience)
        try:
            return cls(
                connection,
                find_out(connection, model=model or None, kind=server_kind),
                max_concurrency=max_concurrency,
            )
        except BaseException:
            connection.close()
            raise

    @property
    def name(self) -> str:
        """The model's name at the server."""
        return self.served.model

    @property
    def is_thinking(self) -> bool:
        """Whether it is a Thinking edition: what our server says, else whether its name says so."""
        return self.served.is_thinking

    @property
    def reports_media(self) -> bool:
        """Whether replies say what the model really saw; only our server tells."""
        return self.served.kind == "regard"

    def chat(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> Reply:
        """Return the whole answer to `what`. Errors: as `stream`."""
        return _last(self.stream(what, preset=preset, tools=tools, add_vision_id=add_vision_id, **options))

    def stream(
        self,
        what: Any,
        *,
        preset: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_vision_id: bool = False,
        **options: Unpack[SamplingOptions],
    ) -> HttpStream:
        """Yield pieces of text and thinking as they come, and at last an event with the `Reply`.

        Errors at once: InputError, ConfigError, CapacityError, and ServerError if the server does not answer.
        While iterating: ServerError if the answer breaks off, RegardError if it was closed from another thread.
        """
        start_s = time.perf_counter()
        body, messages = self._options_body(preset, tools, add_vision_id, options), normalize(what)
        if preset is not None:
            row = presets.find(preset, thinking=self.is_thinking)
            messages = within(messages, row.min_pixels, row.max_pixels)
        content = write_content(messages, self._dialect)
        body |= {"messages": content.messages, **content.fields}
        answer = HttpAnswer(
            content,
            url=self._connection.url,
            starts_in_thinking=self.is_thinking and not self.served.tells_thinking_apart,
            start_s=start_s,
            preprocess_s=time.perf_counter() - start_s,
        )
        return HttpStream(self._connection.post("/chat/completions", body), answer, self._connection.url)

    def chat_many(
        self, whats: Sequence[Any], *, preset: str | None = None, **options: Unpack[SamplingOptions]
    ) -> list[Reply]:
        """Return the answers to several questions, `max_concurrency` of them asked at once.

        Errors: the first that happens; the other answers are ended.
        """
        if not whats:
            return []
        streams: list[HttpStream] = []
        is_over = threading.Event()

        def ask(what: Any) -> Reply:
            stream = self.stream(what, preset=preset, **options)
            streams.append(stream)
            if is_over.is_set():
                stream.close()
            return _last(stream)

        with ThreadPoolExecutor(min(len(whats), self._max_concurrency)) as pool:
            futures: list[Future[Reply]] = [pool.submit(ask, what) for what in whats]
            try:
                done = wait(futures, return_when=FIRST_EXCEPTION).done
                if failed := next((future for future in futures if future in done and future.exception()), None):
                    failed.result()
                return [future.result() for future in futures]
            finally:
                is_over.set()
                for future in futures:
                    future.cancel()
                for stream in list(streams):
                    stream.close()

    def check_options(self, preset: str | None = None, **options: Unpack[SamplingOptions]) -> None:
        """Refuse a preset or option that this server could not honour. Errors: ConfigError."""
        self._options_body(preset, None, False, options)

    def close(self) -> None:
        """End every answer that is still coming."""
        self._connection.close()

    def __enter__(self) -> HttpChat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _options_body(
        self,
        preset: str | None,
        tools: Sequence[Mapping[str, Any]] | None,
        add_vision_id: bool,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The request without its messages. Errors: ConfigError for what the server cannot honour."""
        params, names = chosen_sampling(preset, options, is_thinking=self.is_thinking)
        body = {"model": self.name, "stream": True, "stream_options": {"include_usage": True}}
        body |= sampling_body(self._dialect, params, names) | template_body(self._dialect, add_vision_id)
        if self._connection.host == "api.openai.com" and "max_tokens" in body:  # its newer models know only this name
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body | ({"tools": [tool_json(tool) for tool in tools]} if tools else {})


class HttpStream:
    """The events of one answer. `close` ends it, from any thread; so does forgetting it."""

    def __init__(self, exchange: Exchange, answer: HttpAnswer, url: str) -> None:
        self._exchange = exchange
        self._events = _events(exchange, answer, url)
        weakref.finalize(self, exchange.close)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def close(self) -> None:
        """End the answer at the server; whoever reads it in another thread gets an error."""
        self._exchange.cancel()
        try:
            self._events.close()
        except ValueError:  # being read in another thread, which wakes up and closes it
            return
        self._exchange.close()


def _events(exchange: Exchange, answer: HttpAnswer, url: str) -> Generator[Event, None, None]:
    with exchange:
        if exchange.kind in ("application/json", "text/html"):  # a server that does not stream, or none at all
            yield from answer.push(exchange.read_json())
        else:
            for data in _event_data(exchange):
                yield from answer.push(_parsed(data, url))
        yield from answer.finish()


def _event_data(exchange: Exchange) -> Iterator[str]:
    """The data of each event, up to the one that ends the stream."""
    reader = EventReader()
    for piece in exchange:
        for data in reader.push(piece):
            if data.strip() == _DONE:
                return
            yield data
    yield from (data for data in reader.finish() if data.strip() != _DONE)


def _parsed(data: str, url: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise ServerError(f"{url} sends an event that is not JSON, {failures.shown(data)}; look into its log") from None


def _last(stream: HttpStream) -> Reply:
    try:
        for event in stream:
            if event.reply is not None:
                return event.reply
    finally:
        stream.close()
    raise RegardError("the answer was closed before it was finished")

"""What a stored response was asked, as items, and the pages in which they are listed.

    GET /v1/responses/{id}/input_items?limit=20&order=desc&after=msg_...

The items are those of the request in the shape that they are answered in: text becomes a message of one part, and each
has a `type`, an `id` and, except reasoning, the `status` "completed". What the conversation before said comes first,
its answers included; instructions are no items. Media are listed as they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from regard.errors import InputError
from regard.server.fields import shown
from regard.server.query import Query

Json = dict[str, Any]
DEFAULT_LIMIT, MAX_LIMIT = 20, 100  # as at OpenAI
PREFIX = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
TEXT_PART: Mapping[str, Json] = {
    "user": {"type": "input_text"},
    "assistant": {"type": "output_text", "annotations": [], "logprobs": []},
}


def listed_items(given: Any, before: Iterable[Json], make_id: Callable[[str], str]) -> tuple[Json, ...]:
    """The items of a request whose `input` was read already; `before`: those of the conversation that it goes on from.

    An id that was given is kept unless another item has it.
    """
    items = list(before)
    taken = {item["id"] for item in items}
    for one in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        kind = one.get("type") or "message"
        item = {**one, "type": kind}
        if kind == "message" and isinstance(one["content"], str):
            part = TEXT_PART.get(one["role"], TEXT_PART["user"])
            item["content"] = [{**part, "text": one["content"]}]
        for name in ("content", "output"):
            if isinstance(item.get(name), list):
                item[name] = [_part(part) for part in item[name]]
        if kind != "reasoning":
            item["status"] = "completed"
        if not isinstance(item.get("id"), str) or item["id"] in taken:
            item["id"] = make_id(PREFIX[kind])
        taken.add(item["id"])
        items.append(item)
    return tuple(items)


def _part(part: Json) -> Json:
    """A part of content; pictures tell their detail, without which OpenAI's client takes a message for another kind."""
    return {"detail": "auto", **part} if part.get("type") == "input_image" else part


def page_of_items(items: Sequence[Json], query: Query) -> Json:
    """A page of the items, the newest first unless asked otherwise. Errors: InputError for a query that is wrong."""
    limit = query.whole("limit", 1, MAX_LIMIT, default=DEFAULT_LIMIT)
    order = query.choice("order", "desc", "asc")
    after = query.text("after")
    query.end()
    ordered = list(items) if order == "asc" else list(reversed(items))
    start = 0
    if after is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise InputError(f"after is {shown(after)}, which is none of the response's input items; give an item's id")
        start = ids.index(after) + 1
    data = ordered[start : start + limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + limit < len(ordered),
    }

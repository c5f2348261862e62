"""The small routes: what is served, how it stands, and its tokenizer.

GET   /v1/models, /v1/models/{id}   with a field `regard`: edition, context, where it runs
GET   /v1/presets                   the recommended settings that fit this edition
POST  /tokenize                     {"prompt": ...} or {"messages": ...}: ids and their texts
POST  /detokenize                   {"tokens": ...}: the text
GET   /health                       200 while the process lives
GET   /ready                        200 while it takes requests, 503 when it is about to stop
GET   /metrics                      for Prometheus
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from regard import __version__, presets
from regard.errors import InputError
from regard.server.asking import Ask
from regard.server.body import read_body
from regard.server.chat_messages import read_messages
from regard.server.errors import HttpError
from regard.server.fields import Fields, shown
from regard.server.metrics import CONTENT_TYPE
from regard.server.service import Service
from regard.server.tools import use_tools

Json = dict[str, Any]
_OF_PRESETS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "max_tokens",
)


def models_router(service: Service) -> APIRouter:
    """The routes; errors are raised for the server to shape."""
    router = APIRouter()
    model = _model_json(service, int(time.time()))

    @router.get("/v1/models")
    async def models() -> Json:
        return {"object": "list", "data": [model]}

    @router.get("/v1/models/{model_id:path}")
    async def one_model(model_id: str) -> Json:
        service.served_name(model_id)
        return model

    @router.get("/v1/presets")
    async def list_presets() -> Json:
        return {"object": "list", "data": presets_json(service)}

    @router.post("/tokenize")
    async def tokenize(request: Request) -> Json:
        return await _tokenize(service, await read_body(request))

    @router.post("/detokenize")
    async def detokenize(request: Request) -> Json:
        return _detokenize(service, await read_body(request))

    @router.get("/health")
    async def health() -> Json:
        return {"status": "ok", "version": __version__}

    @router.get("/ready")
    async def ready() -> Json:
        if service.is_draining:
            raise HttpError(503, "the server is about to stop and takes no new requests")
        return {"status": "ready", "model": service.name}

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return router


def presets_json(service: Service) -> list[Json]:
    """The rows that fit this edition: name, title, settings, and where they come from."""
    edition = "thinking" if service.llm.is_thinking else "instruct"
    rows = [row for row in presets.PRESETS if row.edition in (None, edition)]
    return [
        {
            "id": row.name,
            "object": "preset",
            "name": row.name,
            "title": row.purpose,
            "settings": {name: getattr(row.sampling, name) for name in _OF_PRESETS}
            | {"min_pixels": row.min_pixels, "max_pixels": row.max_pixels},
            "source": row.source,
        }
        for row in rows
    ]


def _model_json(service: Service, created_s: int) -> Json:
    llm = service.llm
    context = llm.model.config.text.max_position_embeddings
    return {
        "id": service.name,
        "object": "model",
        "created": created_s,
        "owned_by": "regard",
        "max_model_len": context,
        "regard": {
            "version": __version__,
            "is_thinking": llm.is_thinking,
            "max_model_len": context,
            "device": llm.device.value,
            "dtype": llm.dtype.value,
            "defaults": {name: asdict(llm.sampling_params())[name] for name in _OF_PRESETS},
            "max_body_bytes": service.settings.max_body_bytes,
            "max_file_bytes": service.settings.max_file_bytes,
        },
    }


async def _tokenize(service: Service, body: Any) -> Json:
    fields = Fields(body, "the request")
    service.served_name(fields.text("model"))
    prompt, messages = fields.text("prompt"), fields.raw("messages")
    if (prompt is None) == (messages is None):
        raise InputError("the request needs either a prompt or messages; give one of them")
    media: list[Json] = []
    tokenizer = service.llm.processor.tokenizer
    if prompt is not None:
        ids = tokenizer.encode(prompt)
    else:
        tools, _ = use_tools(fields.items("tools"), None)
        prepared = await service.prepare(Ask(read_messages(messages, service.find_file), {}, tools=tools))
        ids = prepared.inputs.input_ids.tolist()
        media = [asdict(report) for report in prepared.inputs.media]
    fields.end()
    texts = [tokenizer.token_bytes(token_id).decode(errors="replace") for token_id in ids]
    context = service.llm.model.config.text.max_position_embeddings
    return {"count": len(ids), "max_model_len": context, "tokens": ids, "token_strs": texts, "media": media}


def _detokenize(service: Service, body: Any) -> Json:
    fields = Fields(body, "the request")
    service.served_name(fields.text("model"))
    ids = fields.items("tokens")
    fields.end()
    tokenizer = service.llm.processor.tokenizer
    size = tokenizer.vocab_size
    for token_id in ids:
        if not isinstance(token_id, int) or isinstance(token_id, bool) or not 0 <= token_id < size:
            raise InputError(f"tokens has {shown(token_id)}; it must be a list of ids from 0 to {size - 1}")
    return {"prompt": tokenizer.decode(ids, skip_special=False)}

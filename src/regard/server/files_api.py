"""The routes of uploaded files, as OpenAI's.

    POST    /v1/files                multipart: `file`, `purpose`, and `expires_after[seconds]`
    GET     /v1/files                the list
    GET     /v1/files/{id}           one of them;  GET /v1/files/{id}/content its bytes;  DELETE removes it

The bytes go back as a download of no particular type, so that no browser takes one for a page of ours.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from regard.errors import ConfigError, InputError
from regard.messages import Document, Image
from regard.server.errors import HttpError
from regard.server.files import StoredFile
from regard.server.query import Query
from regard.server.service import Service

PURPOSES = ("user_data", "vision", "assistants")
MIN_TTL_S = 60.0
MAX_FIELDS = 8
Json = dict[str, Any]


def files_router(service: Service) -> APIRouter:
    """The routes; errors are raised for the server to shape."""
    router = APIRouter()
    files = service.files

    @router.post("/v1/files")
    async def upload(request: Request) -> Json:
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise HttpError(415, "an upload must be sent as multipart/form-data, with the fields file and purpose")
        try:
            async with request.form(max_files=1, max_fields=MAX_FIELDS) as form:
                return await _add(service, form)
        except MultiPartException as error:
            raise InputError(f"the upload cannot be read ({error.message}); send it as multipart/form-data") from None

    @router.get("/v1/files")
    async def list_files(request: Request) -> Json:
        Query(request.query_params.multi_items()).end()
        found = [file_json(stored) for stored in files.all()]
        ends = {"first_id": found[0]["id"], "last_id": found[-1]["id"]} if found else {}
        return {"object": "list", "data": found, "has_more": False, **ends}

    @router.get("/v1/files/{file_id}")
    async def one(file_id: str) -> Json:
        return file_json(files.get(file_id))

    @router.get("/v1/files/{file_id}/content")
    async def content(file_id: str) -> Response:
        stored = files.get(file_id)
        return FileResponse(
            stored.path,
            media_type="application/octet-stream",
            filename=stored.name,
            headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"},
        )

    @router.delete("/v1/files/{file_id}")
    async def delete(file_id: str) -> Json:
        files.delete(file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    return router


async def _add(service: Service, form: FormData) -> Json:
    file, purpose = form.get("file"), form.get("purpose", PURPOSES[0])
    if not isinstance(file, UploadFile):
        raise InputError("the upload has no file; send it as the multipart field 'file'")
    if purpose not in PURPOSES:
        raise ConfigError(f"purpose is {str(purpose)[:60]!r}; it must be {', '.join(PURPOSES)}")
    known = {"file", "purpose", "expires_after[seconds]", "expires_after[anchor]"}
    if unknown := sorted(set(form) - known):
        raise ConfigError(f"the upload has the field {unknown[0][:60]!r}, which is not supported; leave it out")
    ttl_s = _ttl_s(form.get("expires_after[seconds]"))
    stored = await asyncio.to_thread(
        service.files.add, file.filename or "file", file.file, purpose=str(purpose), ttl_s=ttl_s
    )
    return file_json(stored)


def _ttl_s(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or int(value[:12]) < MIN_TTL_S:
        raise ConfigError(f"expires_after is {str(value)[:60]!r} seconds; it must be a whole number from {MIN_TTL_S:g}")
    return float(value[:12])


def file_json(stored: StoredFile) -> Json:
    """A file in OpenAI's shape; `kind` is ours: what its bytes are taken for."""
    part = stored.part
    return {
        "id": stored.file_id,
        "object": "file",
        "bytes": stored.num_bytes,
        "created_at": int(stored.created_s),
        "expires_at": int(stored.expires_s),
        "filename": stored.name,
        "purpose": stored.purpose,
        "status": "processed",
        "kind": "image" if isinstance(part, Image) else "document" if isinstance(part, Document) else "video",
    }

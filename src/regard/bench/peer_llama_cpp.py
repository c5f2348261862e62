"""llama.cpp as a system under test, through the wheels of `xllamacpp`, on the GGUF files of `gguf_files.py`.

Requests go to the C++ server inside this process, which batches them; no network is between. There is a slot for each
concurrent request and one cache for all slots. The server's store of earlier prompts in main memory is off, because it
would grow with every picture; what the slots hold is reused all the same, so that repeated pictures are found.

The server tells how long the tokens after the first took; the time to the first is what remains of the whole. It does
not tell how long the picture took. The prebuilt wheels use AVX2 and nothing newer; a build for this machine may.
Clips are left out: the server wants encoded ones and chooses frames by itself, so that the prompts would differ.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from regard.bench.gguf_files import write_gguf
from regard.bench.requests import Answered, LoadOptions, Request, Unsupported, WaveResult

_QUIET = 0


class LlamaCpp:
    """A server with its model."""

    def __init__(self, options: LoadOptions, variant: str) -> None:
        import xllamacpp

        model, mmproj = write_gguf(Path(options.folder), variant, Path(options.gguf_folder))
        params = xllamacpp.CommonParams()
        params.model.path, params.mmproj.path = str(model), str(mmproj)
        params.n_gpu_layers, params.mmproj_use_gpu, params.fit_params = 0, False, False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.num_threads
        params.n_parallel, params.kv_unified = options.max_concurrent, True
        params.n_ctx = options.num_context_tokens
        params.cache_ram_mib = 0
        params.verbosity = _QUIET
        self._num_context_tokens = options.num_context_tokens
        self._system_info = str(xllamacpp.get_system_info())
        self._server = xllamacpp.Server(params)

    def facts(self) -> dict[str, Any]:
        """The instruction sets it uses, and the size of the cache that it takes at once."""
        return {"dtype": "float32", "build": self._system_info, "reserved_tokens": self._num_context_tokens}

    def answer(self, requests: Sequence[Request]) -> WaveResult:
        """Each request from a thread of its own."""
        if any(request.frames for request in requests):
            raise Unsupported("this comparison gives llama.cpp no clips")
        start_s = time.perf_counter()
        with ThreadPoolExecutor(len(requests)) as pool:
            answers = tuple(pool.map(self._answer_one, requests))
        return WaveResult(time.perf_counter() - start_s, answers)

    def _answer_one(self, request: Request) -> Answered:
        start_s = time.perf_counter()
        parts = [{"type": "image_url", "image_url": {"url": _data_url(path)}} for path in request.pictures]
        reply = self._server.handle_chat_completions(
            {
                "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": request.text}]}],
                "max_tokens": request.max_tokens,
                "temperature": 0.0,
                "top_k": 1,
                "seed": 0,
                "ignore_eos": True,
                "cache_prompt": True,
            }
        )
        total_s = time.perf_counter() - start_s
        if "choices" not in reply:
            raise Unsupported(f"llama.cpp refused a request: {reply.get('error', reply)}")
        return Answered(
            num_prompt_tokens=reply["usage"]["prompt_tokens"],
            num_output_tokens=reply["usage"]["completion_tokens"],
            total_s=total_s,
            ttft_s=total_s - reply["timings"]["predicted_ms"] / 1e3,
            text=reply["choices"][0]["message"]["content"] or "",
        )


def _data_url(path: str) -> str:
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")

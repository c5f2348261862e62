"""Write safetensors files piece by piece: names, dtypes and shapes first, then the values as they are made.

    with ShardWriter(folder, tensors) as writer:       `tensors` lie on the meta device: shapes and dtypes only
        writer.append(name, rows)                      in any order of names; the pieces of one name in order

The library's own writer wants all tensors of a file in memory at once. The format is: eight bytes with the length of a
JSON header, the header (name -> dtype, shape, place), the bytes. Larger dtypes come first, so that every tensor lies at
a multiple of its own size.
Source: https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import torch
from torch import Tensor

from regard.weights.save import MAX_SHARD_BYTES, split_into_shards
from regard.weights.stored import INDEX_FILE, SINGLE_FILE

_NAMES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int8: "I8",
    torch.uint8: "U8",
}


class ShardWriter:
    """The weight files of one folder; `on_progress` hears the bytes written and the bytes in all.

    Leaving the block without an error checks that every byte was written.
    """

    def __init__(
        self,
        folder: Path,
        tensors: Mapping[str, Tensor],
        max_shard_bytes: int = MAX_SHARD_BYTES,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.folder = folder
        self.num_bytes = sum(tensor.nbytes for tensor in tensors.values())
        self._num_written = 0
        self._on_progress = on_progress
        shards = split_into_shards(tensors, max_shard_bytes)
        count = len(shards)
        names = [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
        self._shards = dict(zip(names if count > 1 else [SINGLE_FILE], shards, strict=True))
        self._open: list[BinaryIO] = []
        self._next: dict[str, tuple[BinaryIO, int, int]] = {}  # name -> its file, the next byte, the end

    def __enter__(self) -> ShardWriter:
        for name, tensors in self._shards.items():
            file = (self.folder / name).open("wb")
            self._open.append(file)
            self._start(file, tensors)
        if len(self._shards) > 1:
            weight_map = {name: file for file, tensors in self._shards.items() for name in tensors}
            index = json.dumps({"metadata": {"total_size": self.num_bytes}, "weight_map": weight_map}, indent=2)
            (self.folder / INDEX_FILE).write_text(index + "\n", encoding="utf-8")
        return self

    def append(self, name: str, piece: Tensor) -> None:
        """Write the next values of a tensor."""
        file, position, end = self._next[name]
        assert position + piece.nbytes <= end, f"more values than announced for {name}"
        file.seek(position)
        file.write(piece.contiguous().view(torch.uint8).flatten().numpy().data)
        self._next[name] = file, position + piece.nbytes, end
        self._num_written += piece.nbytes
        if self._on_progress is not None:
            self._on_progress(self._num_written, self.num_bytes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open:
            file.close()
        if kind is None:
            unfinished = [name for name, (_, position, end) in self._next.items() if position < end]
            assert not unfinished, f"not written: {unfinished}"

    def _start(self, file: BinaryIO, tensors: Mapping[str, Tensor]) -> None:
        """Write a file's header and note where each tensor goes."""
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        start, places = 0, {}
        for name, tensor in sorted(tensors.items(), key=lambda entry: -entry[1].itemsize):
            end = start + tensor.nbytes
            places[name] = start, end
            header[name] = {
                "dtype": _NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [start, end],
            }
            start = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        file.write(len(text).to_bytes(8, "little") + text)
        base = 8 + len(text)
        self._next |= {name: (file, base + start, base + end) for name, (start, end) in places.items()}
        file.truncate(base + start)

"""Features of pictures and frames that were computed before: least recently used out first, counted in bytes.

With a folder, features also go to disk (one safetensors file each, up to a number of bytes), so that a long video is
encoded once even if the process ends. A damaged file is a miss.

Keys are hashes of the resized pixels and the grid (`request.py`); a folder belongs to one checkpoint and dtype, which
the caller puts into its name.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from regard.model.vision import VisionFeatures


class VisionCache:
    """Holds up to `max_bytes` in memory, and up to `max_disk_bytes` in `folder` if one is given."""

    def __init__(
        self, max_bytes: int, *, device: torch.device, folder: Path | None = None, max_disk_bytes: int = 0
    ) -> None:
        self._max_bytes, self._device = max_bytes, device
        self._folder, self._max_disk_bytes = folder, max_disk_bytes
        self._features: OrderedDict[bytes, VisionFeatures] = OrderedDict()
        self.num_bytes = 0

    def get(self, key: bytes) -> VisionFeatures | None:
        """The features, from memory or else from disk."""
        if key in self._features:
            self._features.move_to_end(key)
            return self._features[key]
        features = self._read(key)
        if features is not None:
            self._keep(key, features)
        return features

    def put(self, key: bytes, features: VisionFeatures) -> None:
        """Remember features; the least recently used ones go."""
        self._write(key, features)
        self._keep(key, features)

    def clear(self) -> None:
        """Forget what is in memory."""
        self._features.clear()
        self.num_bytes = 0

    def _keep(self, key: bytes, features: VisionFeatures) -> None:
        size = num_bytes(features)
        if key in self._features or size > self._max_bytes:
            return
        self._features[key] = features
        self.num_bytes += size
        while self.num_bytes > self._max_bytes:
            _, oldest = self._features.popitem(last=False)
            self.num_bytes -= num_bytes(oldest)

    def _read(self, key: bytes) -> VisionFeatures | None:
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            rows = load_file(path, device=str(self._device))
        except (OSError, SafetensorError):
            return None
        os.utime(path)
        return VisionFeatures(rows.pop("embeds"), tuple(rows[name] for name in sorted(rows)))

    def _write(self, key: bytes, features: VisionFeatures) -> None:
        path = self._path(key)
        if path is None or path.exists():
            return
        rows = {f"deepstack{index}": rows.contiguous() for index, rows in enumerate(features.deepstack)}
        partial = path.with_suffix(f".{os.getpid()}")
        partial.parent.mkdir(parents=True, exist_ok=True)
        save_file({"embeds": features.embeds.contiguous(), **rows}, partial)
        os.replace(partial, path)
        files = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total <= self._max_disk_bytes:
                break
            total -= file.stat().st_size
            file.unlink()

    def _path(self, key: bytes) -> Path | None:
        return self._folder / f"{key.hex()}.safetensors" if self._folder else None


def num_bytes(features: VisionFeatures) -> int:
    """Size of a picture's features."""
    return sum(rows.numel() * rows.element_size() for rows in (features.embeds, *features.deepstack))

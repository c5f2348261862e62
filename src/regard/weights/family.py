"""The public models: sizes, editions and precisions, from `assets/family.json`. Torch-free.

The file holds the numbers of the official config.json files that decide shapes, common ones once; they are
merged into the form that `ModelConfig.from_hf` reads. Editions (Instruct, Thinking) differ in weights only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.model.config import ModelConfig

_FILE = Path(__file__).parent.parent / "assets" / "family.json"


@dataclass(frozen=True)
class PublicModel:
    """One size in one precision; `hub_ids` has one repository per edition."""

    size: str
    precision: str
    config: ModelConfig
    hub_ids: dict[str, str]


def public_models() -> list[PublicModel]:
    """Every public size in every published precision, small ones first."""
    family = json.loads(_FILE.read_text(encoding="utf-8"))
    return [
        PublicModel(
            size=size,
            precision=precision,
            config=ModelConfig.from_hf(hf_config(family, size, precision)),
            hub_ids={
                edition: family["hub_id"].format(size=size, edition=edition, suffix=suffix)
                for edition in family["editions"]
            },
        )
        for size in family["sizes"]
        for precision, suffix in family["suffixes"].items()
    ]


def hf_config(family: dict[str, Any], size: str, precision: str) -> dict[str, Any]:
    """config.json of one size, as far as it decides shapes."""
    common, own = family["common"], family["sizes"][size]
    config = common | own
    for section in ("text_config", "vision_config"):
        config[section] = common[section] | own[section]
    if precision == "fp8":
        config["quantization_config"] = family["fp8"]
    return dict(config)

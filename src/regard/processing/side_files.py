"""Read the small JSON files that lie beside a checkpoint's weights.

One place, so that a missing or damaged file gives the same one-sentence error everywhere. It does not
know what the files mean: `tokenizer`, `chat_template` and `processor` do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from regard.errors import CheckpointError


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty dict if there is no such file.

    Errors: CheckpointError if the file is not readable JSON or holds something other than an object.
    """
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON ({error}); copy the file again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}; it must hold a JSON object")
    return value

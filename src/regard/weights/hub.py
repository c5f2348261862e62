"""What a model's name stands for: the bundled checkpoint, a folder, or a repository of the Hugging Face hub.

    "nano"                          the folder inside this package
    an existing folder              itself
    "Qwen/Qwen3-VL-4B-Instruct"     a snapshot in the hub's cache, fetched if needed

Fetching is `huggingface_hub`'s: its cache and its environment variables (HF_HOME, HF_HUB_OFFLINE, HF_TOKEN,
HTTPS_PROXY) work as everywhere else, broken downloads resume, a progress bar goes to the terminal. The network
is touched for hub ids only. Revisions other than the main one, other hubs and uploads are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from regard.errors import CheckpointError

NANO = "nano"
NANO_FOLDER = Path(__file__).parent.parent / "assets" / NANO
HUB_FILES = ["*.json", "*.jinja", "*.safetensors", "merges.txt"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve_model(name: str, *, offline: bool = False) -> Path:
    """The folder of a model. `offline` uses what the hub's cache holds and never asks the network.

    Errors:  CheckpointError if the name is no model, or the hub cannot give it.
    """
    if name == NANO:
        if not NANO_FOLDER.is_dir():
            raise CheckpointError(f"this installation lacks the bundled checkpoint {NANO_FOLDER}; install regard again")
        return NANO_FOLDER
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    if folder.is_file():
        raise CheckpointError(f"{name} is a file; give the folder that holds config.json and the weights")
    if not _HUB_ID.fullmatch(name):
        raise CheckpointError(
            f"{name!r} is no model: there is no such folder, and it is neither 'nano' nor a hub id "
            "such as 'Qwen/Qwen3-VL-4B-Instruct'"
        )
    return _snapshot(name, offline=offline)


def _snapshot(hub_id: str, *, offline: bool) -> Path:
    """Bring a repository's model files into the hub's cache and return the folder."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=HUB_FILES, local_files_only=offline))
    except errors.GatedRepoError as error:
        reason = f"asks for consent first: accept its terms at https://huggingface.co/{hub_id} and set HF_TOKEN"
        raise CheckpointError(f"{hub_id} on the hub {reason}") from error
    except errors.RepositoryNotFoundError as error:
        reason = "there is no folder of that name, and no public repository of it on the hub"
        raise CheckpointError(f"{hub_id}: {reason}; check the spelling, or set HF_TOKEN if it is private") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        reason = "offline mode was asked for" if offline else "the hub cannot be reached"
        raise CheckpointError(
            f"{hub_id} is not (completely) in the local cache and {reason}; "
            "run again with a network, or give a folder or 'nano'"
        ) from error
    except OSError as error:
        first_line = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{hub_id} could not be fetched: {first_line}; run again to resume") from error


def downloaded_folder(hub_id: str) -> Path | None:
    """The cached folder of a hub id if all of its weights are there, without asking the network."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=HUB_FILES, local_files_only=True))
    except (errors.LocalEntryNotFoundError, OSError):
        return None

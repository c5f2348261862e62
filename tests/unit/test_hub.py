"""What a model's name stands for. The hub is played by a function; no test sends a packet."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from regard.errors import CheckpointError
from regard.weights.hub import NANO_FOLDER, downloaded_folder, resolve_model

HUB_ID = "Qwen/Qwen3-VL-4B-Instruct"


class FakeHub:
    """Stands in for `snapshot_download`: records each call, then answers or raises."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer: str | Exception = "/cache/snapshot"

    def __call__(self, hub_id: str, **options: Any) -> str:
        self.calls.append((hub_id, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    return fake


def http_error(kind: type[errors.HfHubHTTPError], text: str = "no") -> errors.HfHubHTTPError:
    """An error of the hub client, with as much of a response as it looks at."""
    response: Any = SimpleNamespace(headers={}, request=None, status_code=404)
    return kind(text, response=response)


def test_nano_is_the_bundled_folder_and_needs_no_hub(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("regard.weights.hub.NANO_FOLDER", tmp_path)
    assert resolve_model("nano") == tmp_path
    assert hub.calls == []


def test_nano_lies_inside_the_package() -> None:
    import regard

    assert Path(regard.__file__ or "").parent / "assets" / "nano" == NANO_FOLDER


def test_an_existing_folder_is_taken_before_a_hub_id(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / HUB_ID).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve_model(HUB_ID) == Path(HUB_ID)
    assert hub.calls == []


def test_a_hub_id_becomes_a_snapshot_of_the_model_files_only(hub: FakeHub) -> None:
    assert resolve_model(HUB_ID) == Path("/cache/snapshot")
    [(hub_id, options)] = hub.calls
    assert hub_id == HUB_ID and options["local_files_only"] is False
    assert "*.safetensors" in options["allow_patterns"] and "*.json" in options["allow_patterns"]
    assert "*.jinja" in options["allow_patterns"] and not any("bin" in p for p in options["allow_patterns"])


def test_offline_asks_the_cache_only(hub: FakeHub) -> None:
    resolve_model(HUB_ID, offline=True)
    assert hub.calls[0][1]["local_files_only"] is True


@pytest.mark.parametrize("name", ["nanoo", "/no/such/folder", "./model", "a/b/c", "../x", "Qwen/", "C:\\models", ""])
def test_what_cannot_be_a_hub_id_is_refused_without_asking(
    hub: FakeHub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda self: False)
    with pytest.raises(CheckpointError, match="is no model"):
        resolve_model(name)
    assert hub.calls == []


def test_a_file_is_refused_with_the_advice_to_give_its_folder(hub: FakeHub, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(CheckpointError, match="is a file; give the folder"):
        resolve_model(str(file))


def test_a_wrong_id_is_told_as_such(hub: FakeHub) -> None:
    hub.answer = http_error(errors.RepositoryNotFoundError)
    with pytest.raises(CheckpointError, match="Qwen/Qwen3-VL-5B: .*check the spelling"):
        resolve_model("Qwen/Qwen3-VL-5B")


def test_a_gated_repository_is_told_as_such_and_not_as_missing(hub: FakeHub) -> None:
    """The client's gated error is a kind of its not-found error: the order of the checks decides."""
    hub.answer = http_error(errors.GatedRepoError)
    with pytest.raises(CheckpointError, match="accept its terms at https://huggingface.co/some/gated"):
        resolve_model("some/gated")


def test_no_network_is_told_as_such(hub: FakeHub) -> None:
    hub.answer = errors.LocalEntryNotFoundError("An error happened while trying to locate the files on the Hub")
    with pytest.raises(CheckpointError, match="the hub cannot be reached"):
        resolve_model(HUB_ID)


@pytest.mark.parametrize("error", [errors.LocalEntryNotFoundError("x"), errors.OfflineModeIsEnabled("x")])
def test_offline_mode_says_that_it_was_asked_for(hub: FakeHub, error: Exception) -> None:
    hub.answer = error
    with pytest.raises(CheckpointError, match="offline mode was asked for"):
        resolve_model(HUB_ID, offline=True)


@pytest.mark.parametrize("error", [http_error(errors.HfHubHTTPError, "502 Bad Gateway\nmore"), OSError("disk full")])
def test_any_other_failure_is_one_sentence_with_its_reason(hub: FakeHub, error: Exception) -> None:
    hub.answer = error
    with pytest.raises(CheckpointError, match="(502 Bad Gateway|disk full); run again to resume"):
        resolve_model(HUB_ID)


def test_the_real_client_without_a_network_ends_in_our_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the client's offline switch on (see conftest), the real function runs up to its own refusal."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="not \\(completely\\) in the local cache"):
        resolve_model(HUB_ID)


def cached_snapshot(cache: Path, hub_id: str) -> Path:
    """A hub cache that holds one repository, laid out as the client does."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    return snapshot


def test_a_snapshot_in_the_cache_is_found_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = cached_snapshot(tmp_path, HUB_ID)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert resolve_model(HUB_ID, offline=True) == snapshot
    assert downloaded_folder(HUB_ID) == snapshot
    assert downloaded_folder("Qwen/Qwen3-VL-8B-Instruct") is None

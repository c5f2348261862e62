"""Fine-tuning on a user's conversations: what is read, learned and written, and that a stopped run goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from regard.cli.main import run
from regard.errors import CheckpointError, ConfigError, InputError
from regard.evals.curves import log_report, write_log_report
from regard.evals.finetuned import figures, places_found
from regard.llm import LLM
from regard.train.finetune.encoding import IGNORED, ExampleEncoder, Steps
from regard.train.finetune.examples import read_examples
from regard.train.finetune.loop import FinetuneConfig, Finetuner, default_lr, part_of
from regard.train.finetune.lora import merge
from regard.train.finetune.run import Outcome, finetune, split
from regard.weights.checkpoint import load_model
from regard.weights.quantize import quantize
from tests.tiny import tiny_folder

ASSETS = Path("src/regard/assets/nano")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return tiny_folder(tmp_path_factory.mktemp("finetune") / "tiny", tied=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six conversations of every kind: a picture, two, none, several turns, the family's own spelling, a tool call."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        PILImage.fromarray(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    picture = [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Where is the dial?"}]
    box = '[{"bbox_2d": [10, 20, 300, 400], "label": "dial"}]'
    call = {"type": "function", "function": {"name": "tap", "arguments": '{"x": 3}'}}
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": picture}, {"role": "assistant", "content": box}]},
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]},
        {
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "b.png"}}, *picture]},
                {"role": "assistant", "content": "There."},
                {"role": "user", "content": "Sure?"},
                {"role": "assistant", "content": "Yes."},
            ]
        },
        {
            "image": ["a.png", "b.png"],
            "conversations": [
                {"from": "human", "value": "<image>\n<image>\nWhich is larger?"},
                {"from": "gpt", "value": "The first."},
            ],
        },
        {
            "messages": [
                {"role": "user", "content": picture},
                {"role": "assistant", "content": "", "tool_calls": [call]},
            ],
            "tools": [{"type": "function", "function": {"name": "tap", "parameters": {"type": "object"}}}],
        },
        {"messages": [{"role": "user", "content": picture[1:]}, {"role": "assistant", "content": "Show me."}]},
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    return tmp_path / "data.jsonl"


def config(out: Path, **options: Any) -> FinetuneConfig:
    plain = {"num_steps": 4, "batch_size": 4, "micro_batch": 2, "num_workers": 0, "use_bf16": False, "lr": 1e-2}
    return FinetuneConfig(out=out, base="tiny", **(plain | options))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in load_model(folder).named_parameters()}


def test_both_spellings_of_conversations_are_read_with_paths_beside_the_file(data: Path) -> None:
    examples = read_examples(data)
    assert len(examples) == 6 and examples[3].where == "data.jsonl line 4"
    assert [part.source for part in examples[3].messages[0].parts[:2]] == [
        str(data.parent / "a.png"), str(data.parent / "b.png"),
    ]  # fmt: skip
    assert examples[3].messages[1].text == "The first." and examples[4].tools is not None
    assert [e.where for e in read_examples(data.parent)] == [e.where for e in examples]
    assert len(read_examples(data.parent)) == 6


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1 is not valid JSON"),
        ("[]", "line 1 is a list"),
        ("{}", "neither 'messages' nor 'conversations'"),
        ('{"messages": []}', "'messages' must be a list"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "does not end with what the assistant says"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "no message of the user"),
        ('{"messages": [{"role": "king", "content": "x"}]}', "line 1: "),
        ('{"messages": "x"}', "'messages' must be a list"),
        (
            '{"messages": [{"role": "user", "content": [{"type": "image", "image": "c.png"}]},'
            ' {"role": "assistant", "content": "x"}]}',
            "c.png does not exist",
        ),
        ('{"conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "x"}]}', "more <image>"),
        ('{"image": "a", "conversations": [{"from": "gpt", "value": "x"}]}', "names 1 of 'image'"),
        ('{"conversations": [{"from": "me", "value": "x"}]}', "must have 'from'"),
        ("", "is empty"),
    ],
)
def test_a_mistake_in_the_data_is_told_with_its_line(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "d.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(InputError, match="d.jsonl") as caught:
        read_examples(tmp_path / "d.jsonl")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_picture_is_told_with_its_line_before_training_or_when_it_comes(
    tiny: Path, data: Path, tmp_path: Path
) -> None:
    (data.parent / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="data.jsonl line 3 names b.png, which is damaged or no picture"):
        read_examples(data)
    whole = (data.parent / "a.png").read_bytes()
    (data.parent / "b.png").write_bytes(whole[: len(whole) // 2])  # its beginning is fine
    examples = read_examples(data)
    with pytest.raises(InputError, match=r"data.jsonl line [34]: .*b.png") as caught:
        finetune(config(tmp_path / "r", num_workers=1), tiny, examples, (), lambda _: None)
    assert "\n" not in str(caught.value)


def test_nothing_is_written_for_a_model_that_is_none(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a model folder"):
        finetune(config(tmp_path / "r"), data.parent, read_examples(data), (), lambda _: None)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["no.jsonl", "."])
def test_data_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist|holds no"):
        read_examples(tmp_path / name)


def test_what_the_assistant_says_is_learned_with_its_end_and_nothing_else(data: Path) -> None:
    encoder = ExampleEncoder(ASSETS)
    tokenizer = encoder._processor.tokenizer

    def learned(number: int) -> str:
        labels = encoder.encode(read_examples(data)[number]).labels
        said = labels[labels != IGNORED].tolist()
        assert said[-1] == tokenizer.token_id("<|im_end|>")
        return tokenizer.decode(said)

    assert learned(0) == '[{"bbox_2d": [10, 20, 300, 400], "label": "dial"}]'
    assert learned(2) == "There.Yes."
    assert '"name": "tap"' in learned(4)
    encoded = [encoder.encode(example) for example in read_examples(data)]
    batch = encoder.collate(encoded)
    assert batch.input_ids.shape[1] % 16 == 0 and batch.position_ids.shape == (3, *batch.input_ids.shape)
    assert int(batch.visual_mask.sum()) * 4 == len(batch.pixel_values)


def test_every_epoch_has_every_example_once_and_processes_share_a_step(data: Path) -> None:
    examples = read_examples(data)
    steps = Steps(examples, ExampleEncoder(ASSETS), num_steps=9, batch_size=4, micro_batch=2, seed=3)
    numbers = [number for step in range(9) for number in steps.numbers(step)]
    epochs = [numbers[first : first + 6] for first in range(0, 36, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs) and epochs[0] != epochs[1]
    parts = [
        Steps(examples, ExampleEncoder(ASSETS), num_steps=9, batch_size=4, micro_batch=2, seed=3, rank=r, world_size=2)
        for r in (0, 1)
    ]
    assert [len(part[0][0].input_ids) for part in parts] == [2, 2]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_lowers_the_loss_and_writes_a_checkpoint_in_which_only_what_learns_has_changed(
    tiny: Path, data: Path, tmp_path: Path, method: str
) -> None:
    examples = read_examples(data)
    out = tmp_path / "run"
    outcome = finetune(
        config(out, method=method, learns=("decoder",), num_steps=12), tiny, examples, examples[:2], lambda _: None
    )
    assert outcome.is_done and outcome.log[-1]["held_out_loss"] < outcome.log[0]["held_out_loss"] - 0.3
    before, after = weights(tiny), weights(out / "model")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(part_of(name) == "decoder" for name in changed)
    if method == "lora":
        assert changed == {
            name for name in before if name.endswith("_proj.weight") and name.startswith("model.language_model")
        }
        adapter = json.loads((out / "adapter" / "adapter_config.json").read_text())
        assert adapter["r"] == 16 and len(adapter["target_modules"]) == len(changed)
    assert (out / "model" / "tokenizer.json").exists() and len((out / "log.jsonl").read_text().splitlines()) == 13


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_stopped_run_goes_on_to_the_bit(tiny: Path, data: Path, tmp_path: Path, method: str) -> None:
    examples = read_examples(data)
    whole_run = finetune(config(tmp_path / "a", method=method), tiny, examples, examples[:1], lambda _: None)
    stopped = config(tmp_path / "b", method=method, seconds=0.0)
    for _ in range(4):
        outcome = finetune(stopped, tiny, examples, examples[:1], lambda _: None)
    assert outcome.is_done

    def figures(one: Outcome) -> list[Any]:
        return [[record.get(name) for name in ("step", "loss", "held_out_loss")] for record in one.log]

    assert figures(outcome) == figures(whole_run)
    first, second = weights(tmp_path / "a" / "model"), weights(tmp_path / "b" / "model")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_micro_batches_and_recomputed_layers_change_nothing(tiny: Path, data: Path, tmp_path: Path) -> None:
    examples = read_examples(data)
    losses = []
    for number, options in enumerate(
        ({"micro_batch": 1}, {"micro_batch": 4}, {"micro_batch": 2, "checkpoints_layers": False})
    ):
        outcome = finetune(config(tmp_path / str(number), **options), tiny, examples, (), lambda _: None)
        losses.append([record["loss"] for record in outcome.log[1:]])
    assert np.allclose(losses[0], losses[1], atol=2e-4) and np.allclose(losses[0], losses[2], atol=2e-4)


@pytest.mark.parametrize(
    ("method", "parts"), [("lora", ("decoder", "merger")), ("full", ("decoder", "merger", "tower"))]
)
def test_two_processes_that_share_the_weights_learn_what_one_learns(
    tiny: Path, data: Path, tmp_path: Path, method: str, parts: tuple[str, ...]
) -> None:
    examples = read_examples(data)
    examples = [examples[1], examples[0], *[examples[1]] * 2]  # a process mostly has no picture
    alone = finetune(config(tmp_path / "1", method=method, learns=parts), tiny, examples, examples[:2], lambda _: None)
    shared = finetune(
        config(tmp_path / "2", method=method, learns=parts, world_size=2), tiny, examples, examples[:2], lambda _: None
    )
    assert np.allclose([r["loss"] for r in alone.log[1:]], [r["loss"] for r in shared.log[1:]], atol=2e-3)
    one, two = weights(tmp_path / "1" / "model"), weights(tmp_path / "2" / "model")
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 0.02
    # One process can go on with what two began.
    again = config(tmp_path / "2", method=method, learns=parts)
    assert finetune(again, tiny, examples, (), lambda _: None).is_done


def test_a_merged_checkpoint_says_what_the_adapters_said(tiny: Path, data: Path, tmp_path: Path) -> None:
    examples = read_examples(data)
    finetuner = Finetuner(load_model(tiny, dtype="float32"), tiny, config(tmp_path / "r", num_workers=0))
    finetuner.run(examples, (), lambda _: None)
    batch = finetuner.encoder.collate([finetuner.encoder.encode(examples[0])])
    adapted = finetuner._module(batch)[0].item()
    merged = load_model(tiny, dtype="float32")
    merge(merged, finetuner.adapters(), 2.0)
    plain = Finetuner(merged, tiny, config(tmp_path / "s"))  # its fresh adapters add nothing
    assert plain._module(batch)[0].item() == pytest.approx(adapted, rel=1e-4)


def test_a_run_goes_on_only_as_it_was_begun(tiny: Path, data: Path, tmp_path: Path) -> None:
    examples = read_examples(data)
    begun = config(tmp_path / "r", seconds=0.0)
    finetune(begun, tiny, examples, (), lambda _: None)
    with pytest.raises(ConfigError, match="begun with lora_rank 16, not 8"):
        finetune(replace(begun, lora_rank=8), tiny, examples, (), lambda _: None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_steps": 0}, "the steps is 0"),
        ({"micro_batch": 5}, "from 1 to the batch, 4"),
        ({"world_size": 3}, "cannot be shared by 3"),
        ({"lr": 2.0}, "learning rate is 2.0"),
        ({"learns": ()}, "nothing; choose of"),
        ({"lora_rank": 0}, "the rank is 0"),
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(tmp_path, **options).check()


def test_held_out_conversations_are_never_learned(data: Path) -> None:
    learned, held_out = split(read_examples(data), 0.3, seed=1)
    assert len(held_out) == 2 and len(learned) == 4 and not {e.where for e in learned} & {e.where for e in held_out}
    assert split(read_examples(data), 0.0, seed=1)[1] == []
    assert default_lr("full", 2_000_000_000) < default_lr("lora", 2_000_000_000) < default_lr("lora", 12_000_000)


def test_the_command_trains_answers_held_out_conversations_and_writes_a_report(
    tiny: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    arguments = ["train", str(data), "--model", str(tiny), "--out", str(out), "--steps", "2", "--held-out", "0.4"]
    assert run([*arguments, "--batch-size", "2", "--workers", "0", "--show", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["is_done"] and summary["steps"] == 2 and set(summary["after"]) == {"exact", "characters", "places"}
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "2 held-out conversations" in report and "<polyline" in report and report.count("<figure>") == 2
    assert LLM.load(str(out / "model")).chat("Hello", max_tokens=2, temperature=0.0).usage.num_output_tokens == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--method", "half"], "the method is 'half'"),
        (["--epochs", "0"], "the epochs are 0"),
        (["--held-out", "1.5"], "the held-out share is 1.5"),
        (["--init", "nano"], "--model says what is fine-tuned"),
        (["--learn", "head"], "what learns is head"),
        (["--batch-size", "0"], "the batch size is 0"),
    ],
)
def test_the_command_refuses_what_it_cannot_do_in_one_line(
    tiny: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    arguments = ["train", str(data), "--model", str(tiny), "--out", str(tmp_path / "o")]
    assert run([*arguments, *options]) == 2
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said and not (tmp_path / "o").exists()


def test_a_quantised_checkpoint_is_refused(tiny: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "int8"
    quantize(tiny, folder, "int8")
    with pytest.raises(ConfigError, match="stored in INT8"):
        finetune(config(tmp_path / "o"), folder, read_examples(data), (), lambda _: None)


def test_places_are_found_once_each_and_only_where_some_are_wanted() -> None:
    wanted = '[{"bbox_2d": [0, 0, 100, 100], "label": "a"}, {"bbox_2d": [500, 500, 600, 600], "label": "b"}]'
    assert places_found("Yes.", wanted) is None
    assert places_found(wanted, wanted) == 1.0
    assert places_found(wanted, '[{"bbox_2d": [5, 0, 100, 100], "label": "a"}]') == 0.5
    assert places_found('[{"point_2d": [500, 500], "label": "x"}]', '[{"point_2d": [530, 520], "label": "x"}]') == 1.0
    assert places_found('[{"point_2d": [500, 500], "label": "x"}]', "There is none.") == 0.0
    measured = figures([("Yes.", "Yes."), ("No.", "Yes.")])
    assert measured.exact == 0.5 and measured.places is None


def test_a_runs_log_becomes_a_page_of_curves(tmp_path: Path) -> None:
    records = [{"stage": "look", "step": n, "of": 3, "lines/chars": n / 4, "lines/kind": 0.0} for n in (1, 2, 3)]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    write_log_report(tmp_path / "log.jsonl", tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>look</h2>" in report and "lines: chars, last 0.75" in report and report.count("<polyline") == 1
    assert "Nothing is logged" in log_report([], "empty")

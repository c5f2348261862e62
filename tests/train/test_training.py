"""Training: dense targets, the tokens that are learned, runs that continue exactly, the exported folder."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from regard.cli.main import run
from regard.messages import Image, Message, Text
from regard.model.config import ModelConfig
from regard.processing.processor import Processor
from regard.train import nano
from regard.train.batches import Steps, TaskShare
from regard.train.dense import CHARS, SLOTS, WORDS, DenseHeads, targets
from regard.train.encode import IGNORED, Encoder
from regard.train.loop import TrainConfig, Trainer, wave_positions
from regard.train.nano_folder import write_side_files
from regard.train.run import export, joined
from regard.train.world import lines, scenes, talk
from regard.train.world.sample import Char, DenseTruth, Item, Sample, plain, verbatim
from regard.train.world.shapes import COLOURS
from regard.train.world.words import is_held_out, word_list
from regard.weights.checkpoint import load_model

LINES = partial(lines.make, held_out=False)
SCENES = partial(scenes.make, held_out=False, num_turns=3)
TALK = partial(talk.make, held_out=False)


@pytest.fixture(scope="session")
def side_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano folder without weights, its tokenizer trained here."""
    folder = tmp_path_factory.mktemp("nano")
    write_side_files(folder, [LINES, TALK], vocab_size=400)
    return folder


def small_config(folder: Path) -> ModelConfig:
    """Nano's architecture, shrunk to train a step in milliseconds."""
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 3}
    config["vision_config"] |= {"hidden_size": 48, "num_heads": 4, "intermediate_size": 48, "out_hidden_size": 64}
    return ModelConfig.from_hf(config)


def small_stage(num_steps: int = 4) -> nano.Stage:
    shares = (TaskShare("lines", 2, LINES), TaskShare("scenes", 2, SCENES), TaskShare("talk", 2, TALK))
    return nano.Stage("talk", num_steps, 1e-3, shares, warmup_steps=2)


def test_characters_go_to_their_cells_in_reading_order() -> None:
    truth = DenseTruth(chars=(Char("b", 20, 10), Char("a", 5, 10), Char("c", 40, 10), Char("d", 6, 28)))
    made = targets(truth, (64, 32), (2, 1), {})
    spelled = ["".join(CHARS[i - 1] for i in cell if i) for cell in made.chars]
    assert spelled == ["abd", "c"]
    assert made.chars.shape == (2, SLOTS)


def test_the_smallest_item_wins_a_cell_and_boxes_are_relative() -> None:
    items = (Item("square", (0, 0, 128, 64), "red"), Item("circle", (32, 0, 64, 32), "blue"))
    made = targets(DenseTruth(items=items), (128, 64), (4, 2), {"square": 1, "circle": 2})
    assert made.kind.tolist() == [1, 2, 1, 1, 1, 1, 1, 1]
    assert made.name[1] == 1 + COLOURS.index("blue")
    assert made.box[1].tolist() == [0.25, 0, 0.5, 0.5]


def test_every_cell_of_an_item_is_told_the_tokens_of_its_name(side_files: Path) -> None:
    encoder = Encoder(side_files)
    items = (Item("square", (0, 0, 128, 64), "Save all"), Item("circle", (32, 0, 64, 32)))
    kinds = {"square": 1, "circle": 2}
    made = targets(DenseTruth(items=items), (128, 64), (4, 2), kinds, encoder.words)
    tokenizer = Processor.from_folder(side_files).tokenizer
    wanted = {*tokenizer.encode("Save all"), *tokenizer.encode(" Save all")} - {tokenizer.encode(" ")[0]}
    assert {frozenset(cell) - {-1} for cell in made.words.tolist()} == {frozenset(wanted), frozenset()}
    assert (made.words[1] == -1).all() and len(encoder.words("Save all")) == len(wanted) <= WORDS
    # A text of many words is cut, and without a checkpoint nothing is spelled.
    long = DenseTruth(items=(Item("square", (0, 0, 64, 64), "many words " * 9 + "zebra quick fox jumps"),))
    assert (targets(long, (64, 64), (4, 4), kinds, encoder.words).words >= 0).sum() <= 16 * WORDS
    assert (targets(long, (64, 64), (4, 4), kinds).words == -1).all()


def test_held_out_words_never_appear_in_training_words() -> None:
    assert not any(map(is_held_out, word_list(False)[:2000]))
    assert all(map(is_held_out, word_list(True)))


def test_only_answers_are_learned_and_they_decode_to_the_answers(side_files: Path) -> None:
    encoder = Encoder(side_files)
    rng = np.random.default_rng(5)
    decode = Processor.from_folder(side_files).tokenizer.decode
    for _ in range(20):
        sample = SCENES(rng)
        encoded = encoder.encode(sample)
        learned = decode([int(i) for i in encoded.labels if i != IGNORED], skip_special=False)
        answers = [plain(m.text) for m in sample.messages if m.role == "assistant"]
        assert learned == "".join(answer + "<|im_end|>" for answer in answers)


def test_a_conversation_is_encoded_as_the_processor_renders_it(side_files: Path) -> None:
    """Further turns are joined by hand; joining must give the ids and positions of the whole conversation."""
    picture = PILImage.new("RGB", (96, 64), "white")
    sample = Sample(
        "t",
        (
            Message("user", (Image(picture), Text("How many?"))),
            Message("assistant", (Text("3"),)),
            Message("user", (Text("Where?"),)),
            Message("assistant", (Text("left"),)),
        ),
    )
    encoded = Encoder(side_files).encode(sample)
    whole = Processor.from_folder(side_files)(sample.messages, add_generation_prompt=False)
    assert encoded.input_ids.tolist() == whole.input_ids.tolist()
    assert encoded.position_ids.tolist() == whole.position_ids.tolist()


def test_verbatim_text_is_spelled_and_reads_the_same(side_files: Path) -> None:
    answer = f'"{verbatim("no such button, Zürich")}"'
    encoded = Encoder(side_files).encode(
        Sample("talk", (Message("user", (Text("Read."),)), Message("assistant", (Text(answer),))))
    )
    tokenizer = Processor.from_folder(side_files).tokenizer
    *spelled, end = encoded.input_ids[encoded.labels != IGNORED].tolist()
    assert tokenizer.decode(spelled) == '"no such button, Zürich"' and end == tokenizer.token_id("<|im_end|>")
    assert len(spelled) == len("no such button, Zürich".encode()) + 2
    assert len(spelled) > len(tokenizer.encode('"no such button, Zürich"'))


def test_a_step_has_the_same_content_whenever_it_is_made(side_files: Path) -> None:
    steps = Steps(
        small_stage().shares,
        seed=(1, 2),
        num_steps=4,
        config=small_config(side_files),
        kinds=nano.kind_classes(),
        encoder=Encoder(side_files),
    )
    first, again, other = steps[2], steps[2], steps[3]
    for a, b, c in zip(first, again, other, strict=True):
        assert a.input_ids is not None and b.input_ids is not None and c.input_ids is not None
        assert torch.equal(a.input_ids, b.input_ids) and torch.equal(a.pixel_values, b.pixel_values)
        assert a.input_ids.tolist() != c.input_ids.tolist()


def test_a_stopped_and_continued_run_equals_an_uninterrupted_one(side_files: Path, tmp_path: Path) -> None:
    def trainer(out: Path, seconds: float = float("inf")) -> Trainer:
        config = TrainConfig(out=out, num_workers=0, report_every=1, seconds=seconds, use_bf16=False)
        return Trainer(small_config(side_files), nano.kind_classes(), config, side_files)

    stages = (small_stage(),)
    whole = trainer(tmp_path / "whole")
    assert whole.run(stages, lambda report: None)
    reports: list[int] = []
    while True:
        stopped = trainer(tmp_path / "stopped", seconds=0)  # stops after every step
        if stopped.run(stages, lambda report: reports.append(report["step"])):
            break
    assert reports == [1, 2, 3, 4]
    for name, value in whole.ema.items():
        assert torch.equal(value, stopped.ema[name]), name
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, stopped.model.state_dict()[name]), name


def test_processes_divide_a_step_and_their_mean_is_the_whole(side_files: Path) -> None:
    shares = (TaskShare("lines", 5, LINES, weight=0.5), TaskShare("talk", 1, TALK))

    def steps(rank: int) -> Steps:
        return Steps(
            shares,
            seed=(1, 2),
            num_steps=4,
            config=small_config(side_files),
            kinds=nano.kind_classes(),
            encoder=Encoder(side_files),
            rank=rank,
            world_size=2,
        )

    for step in range(2):
        batches = [batch for rank in range(2) for batch in steps(rank)[step]]
        for share in shares:
            own = [batch for batch in batches if batch.task == share.name]
            counts = [0 if batch.input_ids is None else len(batch.input_ids) for batch in own]
            assert sum(counts) == share.count
            # A sample counts the same in whichever process it is: weight of the mean, over what it is the mean of.
            assert {round(batch.weight / n / 2, 6) for batch, n in zip(own, counts, strict=True)} == {
                round(share.weight / share.count, 6)
            }
        assert not torch.equal(steps(0)[step][0].pixel_values, steps(1)[step][0].pixel_values)


def run_one_of_two(rank: int, folder: Path, meeting: Path) -> None:
    config = TrainConfig(out=folder / "run", num_workers=1, report_every=1, use_bf16=False, rank=rank, world_size=2)
    with joined(config, meeting):
        trainer = Trainer(small_config(folder / "side"), nano.kind_classes(), config, folder / "side")
        trainer.run((small_stage(),), lambda report: None)
        torch.save(trainer.ema, folder / f"ema{rank}.pt")


def test_processes_that_share_steps_have_the_same_weights(side_files: Path, tmp_path: Path) -> None:
    shutil.copytree(side_files, tmp_path / "side")
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=run_one_of_two, args=(rank, tmp_path, tmp_path / "meeting")) for rank in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join(timeout=120)
        assert other.exitcode == 0
    first, second = (torch.load(tmp_path / f"ema{rank}.pt") for rank in range(2))
    saved = torch.load(tmp_path / "run" / "state.pt")
    assert saved["step"] == 4 and saved["stages_done"] == ["talk"]
    for name, value in first.items():
        assert torch.equal(value, second[name]) and torch.equal(value, saved["ema"][name]), name


def test_training_makes_the_loss_fall(side_files: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    share = TaskShare("talk", 8, TALK)
    stage = nano.Stage("talk", 30, 3e-3, (share,), warmup_steps=2)
    losses: list[float] = []
    config = TrainConfig(out=tmp_path, num_workers=0, report_every=10, use_bf16=False)
    Trainer(small_config(side_files), nano.kind_classes(), config, side_files).run(
        (stage,), lambda report: losses.append(report["talk/lm"])
    )
    assert losses[-1] < losses[0] - 0.5


def test_the_exported_folder_loads_and_holds_the_moving_average(side_files: Path, tmp_path: Path) -> None:
    for file in side_files.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    hf_config = json.loads((side_files / "config.json").read_text())
    trainer = Trainer(
        ModelConfig.from_hf(hf_config), nano.kind_classes(), TrainConfig(out=tmp_path / "run"), side_files
    )
    export(trainer.ema, tmp_path, hf_config)
    loaded = load_model(tmp_path)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter.float(), trainer.ema[name].bfloat16().float()), name


def test_a_run_can_start_from_a_checkpoint_instead_of_random_weights(side_files: Path, tmp_path: Path) -> None:
    def trainer(seed: int) -> Trainer:
        config = TrainConfig(out=tmp_path, seed=seed, use_bf16=False)
        return Trainer(small_config(side_files), nano.kind_classes(), config, side_files)

    first, second = trainer(1), trainer(2)
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(first.ema[name], second.ema[name])
    second.start_from(first.model)
    assert torch.equal(second.ema[name], first.ema[name])
    assert torch.equal(second.model.state_dict()[name], first.model.state_dict()[name])


def test_an_unknown_recipe_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "huge", "--out", str(tmp_path)]) == 2
    assert "huge does not exist" in capsys.readouterr().err


def test_cells_that_hold_nothing_do_not_teach_what_colour_a_shape_has() -> None:
    """Class and colour were once averaged over all cells; the many empty ones drowned the few that hold a shape."""
    torch.manual_seed(0)
    heads = DenseHeads(8, 3, 5)

    def gradient(num_empty: int) -> torch.Tensor:
        num_cells = 1 + num_empty
        batch = {name: torch.zeros(num_cells, dtype=torch.long) for name in ("kind", "name")}
        batch["kind"][0] = batch["name"][0] = 2
        batch |= {"chars": torch.zeros(num_cells, SLOTS, dtype=torch.long), "box": torch.zeros(num_cells, 4)}
        batch["words"] = torch.full((num_cells, WORDS), -1)
        heads.zero_grad()
        heads(torch.arange(8.0).repeat(num_cells, 1), batch)[0].backward()
        assert heads.name.bias.grad is not None
        return heads.name.bias.grad.clone()

    assert torch.allclose(gradient(0), gradient(500), atol=1e-6)
    assert gradient(0).abs().max() > 0.1


def test_a_cell_learns_the_tokens_of_its_items_name_in_any_order() -> None:
    torch.manual_seed(0)
    heads = DenseHeads(8, 3, 5)
    batch = {
        "chars": torch.zeros(3, SLOTS, dtype=torch.long),
        "kind": torch.tensor([1, 2, 0]),
        "name": torch.zeros(3, dtype=torch.long),
        "words": torch.tensor([[4, 2, -1], [0, -1, -1], [-1, -1, -1]]),
        "box": torch.zeros(3, 4),
    }
    embeds_VD = torch.randn(3, 8)
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.1)
    for _ in range(60):
        loss, report = heads(embeds_VD, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert report["words"] == 1.0
    told = heads.words(heads.norm(embeds_VD)).softmax(-1)
    assert told[0, 4] > 0.45 and told[0, 2] > 0.45 and told[1, 0] > 0.9


def test_digits_of_boxes_are_learned_only_where_something_lies() -> None:
    torch.manual_seed(0)
    heads = DenseHeads(8, 3, 5)
    batch = {
        "chars": torch.zeros(2, SLOTS, dtype=torch.long),
        "kind": torch.tensor([0, 2]),
        "name": torch.zeros(2, dtype=torch.long),
        "words": torch.full((2, WORDS), -1),
        "box": torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.123, 0.456, 0.5, 1.0]]),
    }
    embeds_VD = torch.randn(2, 8, requires_grad=True)
    optimizer = torch.optim.Adam(heads.parameters(), lr=0.1)
    for _ in range(60):
        loss, report = heads(embeds_VD.detach(), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert report["hundreds"] == report["tens"] == 1.0
    # The empty cell's box is any: other values there change nothing.
    elsewhere = {**batch, "box": batch["box"].clone().index_fill_(0, torch.tensor([0]), 0.9)}
    assert heads(embeds_VD, elsewhere)[0] == heads(embeds_VD, batch)[0]


def test_positions_start_so_that_places_can_be_read_off_them() -> None:
    table_ND = wave_positions(48 * 48, 192)
    x_N1 = torch.linspace(0, 1, 48).repeat(48)[:, None]
    tens_N1 = torch.sin(2 * torch.pi * 10 * x_N1)
    wanted = torch.cat([x_N1, tens_N1], dim=1)
    found = table_ND @ torch.linalg.lstsq(table_ND, wanted, driver="gelsd").solution
    assert (found - wanted).abs().max() < 0.01


def test_conversations_with_a_system_message_and_a_later_picture_are_encoded_as_rendered(side_files: Path) -> None:
    first, second = (PILImage.new("RGB", size, "white") for size in ((96, 64), (64, 96)))
    sample = Sample(
        "t",
        (
            Message("system", (Text("Be short."),)),
            Message("user", (Image(first), Text("How many?"))),
            Message("assistant", (Text("3"),)),
            Message("user", (Image(second), Text("And here?"))),
            Message("assistant", (Text("4"),)),
            Message("user", (Text("Sure?"),)),
            Message("assistant", (Text("Yes."),)),
        ),
    )
    encoded = Encoder(side_files).encode(sample)
    whole = Processor.from_folder(side_files)(sample.messages, add_generation_prompt=False)
    assert encoded.input_ids.tolist() == whole.input_ids.tolist()
    assert encoded.position_ids.tolist() == whole.position_ids.tolist()
    assert len(encoded.grids) == 2

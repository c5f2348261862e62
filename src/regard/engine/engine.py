"""Requests in, token ids out: the step loop that joins scheduler, vision encoder, runner and sampler.

One `step`:

    1. admit       waiting sequences whose prompts find room
    2. see         encode pictures that the next tokens need, for a short time if others could go on meanwhile
    3. schedule    newest tokens of decoding sequences, guesses after them, chunks of prompts
    4. run         all of them as one batch
    5. sample      one token for each sequence that reached its newest one, more where guesses were right
    6. finish      end tokens, limits, the thinking budget, loops

Equal to the naive loop token for token (tests/engine). The engine knows token ids only: text and stop strings are
`llm`'s, which aborts a sequence when one is found. One thread calls it (`engine/loop.py` gives it one).

What can fail is a request, never the engine: a request that can never fit is refused when it is added.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regard.engine.blocks import BlockPool
from regard.engine.budget import Budget
from regard.engine.paged_cache import CacheDtype, PagedCache
from regard.engine.repetition import RepetitionGuard
from regard.engine.request import FinishReason, Sequence, Status, visual_map
from regard.engine.runner import Runner
from regard.engine.sampler import RowState, Sampled, allows_another, sample, score
from regard.engine.scheduler import Chunk, Scheduler
from regard.engine.sight import Sight
from regard.engine.speculation import PromptLookup, num_agreed
from regard.engine.thinking import ThinkingBlock
from regard.engine.vision_cache import VisionCache
from regard.engine.vision_encoder import VisionEncoder
from regard.errors import ConfigError, EngineError, RegardError
from regard.inputs import ModelInputs
from regard.model.qwen3_vl import Qwen3VL
from regard.sampling_params import SamplingParams

if TYPE_CHECKING:
    from regard.engine.structured import Constraint


@dataclass(frozen=True)
class EngineConfig:
    """How the engine shares the machine. Sizes in tokens and bytes, times in seconds."""

    block_size: int = 16
    max_tokens_per_step: int = 512
    max_running: int = 64
    memory_utilization: float = 0.8
    max_memory: int | None = None
    num_blocks: int | None = None  # instead of what the memory allows
    use_prefix_cache: bool = True
    use_speculation: bool = True
    use_graphs: bool = True  # on CUDA devices
    cache_dtype: CacheDtype = "auto"  # "fp8": half the memory or less, not exact
    vision_cache_folder: Path | None = None
    vision_cache_disk_bytes: int = 4 * 1024**3
    vision_slice_s: float = 0.2


DEFAULT_ENGINE = EngineConfig()
MAX_GUESSING = 4  # sequences that decode at the same time and still guess


@dataclass(frozen=True)
class Tokens:
    """Ids with a meaning. `end_thinking` closes a block of thinking, `close_thinking` is written to force it."""

    eos: frozenset[int]
    num_token_ids: int | None = None
    start_thinking: int | None = None
    end_thinking: int | None = None
    close_thinking: tuple[int, ...] = ()


@dataclass(frozen=True)
class Output:
    """What one step gave one sequence."""

    sequence: Sequence
    sampled: tuple[Sampled, ...]
    finish_reason: FinishReason | None
    error: RegardError | None = None


class Engine:
    """Serves many requests with one model. Not thread-safe: see `engine/loop.py`."""

    def __init__(self, model: Qwen3VL, tokens: Tokens, config: EngineConfig = DEFAULT_ENGINE) -> None:
        self.model, self.tokens, self.config = model, tokens, config
        self.budget = Budget.measure(
            model.config,
            dtype=model.dtype,
            device=model.device,
            block_size=config.block_size,
            max_memory=config.max_memory,
            memory_utilization=config.memory_utilization,
            cache_dtype=config.cache_dtype,
        )
        if config.num_blocks is not None:
            self.budget = replace(self.budget, num_blocks=config.num_blocks)
        cache = PagedCache(
            model.config.text,
            num_blocks=self.budget.num_blocks,
            block_size=config.block_size,
            dtype=model.dtype,
            device=model.device,
            cache_dtype=config.cache_dtype,
        )
        self.pool = BlockPool(self.budget.num_blocks, config.block_size, self.budget.num_cached_blocks)
        self.scheduler = Scheduler(
            self.pool,
            max_tokens_per_step=config.max_tokens_per_step,
            max_running=config.max_running,
            use_prefix_cache=config.use_prefix_cache,
        )
        self.vision_cache = VisionCache(
            self.budget.vision_cache_bytes,
            device=model.device,
            folder=config.vision_cache_folder,
            max_disk_bytes=config.vision_cache_disk_bytes,
        )
        self._runner = Runner(model, cache, use_graphs=config.use_graphs)
        self._sight = Sight(VisionEncoder(model.model.visual), self.vision_cache)
        self._numbers = itertools.count()

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self.scheduler.running or self.scheduler.waiting)

    def add(
        self,
        inputs: ModelInputs,
        params: SamplingParams,
        *,
        starts_in_thinking: bool = False,
        constraints: Seq[Constraint | None] = (),
    ) -> list[Sequence]:
        """Queue a request; returns its `params.n` sequences. `constraints`: one for each, where output is structured.

        Errors: CapacityError if it can never fit: the prompt in the cache or the context, a picture in memory.
        """
        if params.structure is not None and len(constraints) != params.n:
            raise ConfigError(f"a structured request needs {params.n} constraints, {len(constraints)} were given")
        num_prompt = len(inputs.input_ids)
        context = min(self.model.config.text.max_position_embeddings, self.budget.num_tokens)
        visual = visual_map(inputs, self.model.config)
        self.budget.check(num_prompt, [unit.num_patches for unit in visual.units])
        token_ids = inputs.input_ids.tolist()
        made: list[Sequence] = []
        for index in range(params.n):
            row = RowState(
                params,
                token_ids,
                num_token_ids=self.tokens.num_token_ids or self.model.config.text.vocab_size,
                end_ids=() if params.ignore_eos else self.tokens.eos,
                index=index,
                device=self.model.device,
            )
            constraint = constraints[index] if constraints else None
            max_tokens = min(params.max_tokens, context - num_prompt)
            sequence = Sequence(
                number=next(self._numbers),
                inputs=inputs,
                params=params,
                visual=visual,
                row=row,
                thinking=self._thinking(params, max_tokens, is_open=starts_in_thinking),
                max_tokens=max_tokens,
                token_ids=list(token_ids),
                lookup=self._lookup(token_ids) if constraint is None else None,
                constraint=constraint,
                guard=self._guard(params, token_ids),
                leader=made[0] if made and self.config.use_prefix_cache else None,
            )
            self._close_thinking(sequence)  # a budget of nothing
            made.append(sequence)
        for sequence in made:
            self.scheduler.add(sequence)
        return made

    def abort(self, sequence: Sequence) -> None:
        """Stop a sequence at once; its blocks are free before the next step."""
        if sequence.status is not Status.FINISHED:
            sequence.finish_reason = "abort"
            self.scheduler.remove(sequence)

    @torch.inference_mode()
    def step(self) -> list[Output]:
        """Do one step; returns what each sequence got."""
        self.scheduler.admit()
        self._see()
        chunks = self.scheduler.schedule(self._proposals())
        if not chunks:
            return []
        logits_WV = self._runner.run(chunks)
        for chunk in chunks:
            if not chunk.is_last:
                self.scheduler.advance(chunk.sequence, chunk.start + chunk.count)
                chunk.sequence.forget_features()
        ready = [chunk for chunk in chunks if chunk.is_last]
        return [
            self._take(chunk, sampled) for chunk, sampled in zip(ready, self._sample(ready, logits_WV), strict=True)
        ]

    def _see(self) -> None:
        """Encode pictures until someone can go on, or everyone if nobody is kept waiting."""
        deadline_s = time.monotonic() + self.config.vision_slice_s
        window = 2 * self.config.max_tokens_per_step
        while self._sight.advance(self.scheduler.running, window):
            if time.monotonic() > deadline_s and any(self.scheduler.can_go_on(s) for s in self.scheduler.running):
                return

    def _proposals(self) -> dict[int, tuple[int, ...]]:
        """Guesses for the sequences that decode. None where many do: their rows already fill the products."""
        proposals: dict[int, tuple[int, ...]] = {}
        if sum(sequence.is_decoding for sequence in self.scheduler.running) > MAX_GUESSING:
            return proposals
        for sequence in self.scheduler.running:
            if sequence.lookup is None or not sequence.is_decoding or sequence.forced or sequence.row.forbidden:
                continue
            room = sequence.max_tokens - sequence.num_output - 1
            proposed = sequence.lookup.propose(room) if room > 0 else []
            if proposed:
                proposals[sequence.number] = tuple(proposed)
        return proposals

    def _sample(self, ready: Seq[Chunk], logits_WV: torch.Tensor) -> list[list[Sampled]]:
        """Tokens of each chunk: one, and one more for every guess that was right.

        A guess is right if it is what would have been drawn, so guessing changes nothing but the time.
        """
        rows = [chunk.sequence.row for chunk in ready for _ in range(1 + len(chunk.proposed))]
        ahead = [chunk.proposed[:depth] for chunk in ready for depth in range(1 + len(chunk.proposed))]
        sampled = iter(sample(logits_WV, rows, ahead=ahead, allowed_BW=self._allowed(ready)))
        taken = []
        first = 0
        for chunk in ready:
            own = list(itertools.islice(sampled, 1 + len(chunk.proposed)))
            if chunk.proposed and chunk.sequence.lookup is not None:
                kept = num_agreed([one.token_id for one in own], chunk.proposed)
                chunk.sequence.lookup.length.learn(len(chunk.proposed), kept)
                own = own[: 1 + kept]
            if chunk.sequence.forced:
                own = [score(logits_WV[first], chunk.sequence.row, chunk.sequence.forced.pop(0))]
            if chunk.sequence.constraint is not None:
                own = [self._accept(chunk.sequence, chunk.sequence.constraint, own[0], logits_WV[first])]
            taken.append(own)
            first += 1 + len(chunk.proposed)
        return taken

    def _allowed(self, ready: Seq[Chunk]) -> torch.Tensor | None:
        """Bit masks of what structured output permits, a row for each row of logits; None if nothing is structured."""
        if all(chunk.sequence.constraint is None for chunk in ready):
            return None
        num_words = -(-(self.tokens.num_token_ids or self.model.config.text.vocab_size) // 32)
        num_rows = sum(1 + len(chunk.proposed) for chunk in ready)
        masks = torch.full((num_rows, num_words), -1, dtype=torch.int32)
        row = 0
        for chunk in ready:
            sequence = chunk.sequence
            if sequence.constraint is not None:
                try:
                    sequence.constraint.fill_mask(masks[row], sequence.max_tokens - sequence.num_output)
                    if not allows_another(masks[row], sequence.row.forbidden):
                        sequence.row.forbidden = ()
                except EngineError as error:
                    sequence.error = error  # told when its token is taken; the others go on
                    masks[row] = -1
            row += 1 + len(chunk.proposed)
        return masks

    def _take(self, chunk: Chunk, sampled: list[Sampled]) -> Output:
        """Append what was sampled, up to the first token that ends the sequence."""
        sequence = chunk.sequence
        if sequence.error is not None:
            self.scheduler.remove(sequence)
            return Output(sequence, (), None, sequence.error)
        taken: list[Sampled] = []
        for one in sampled:
            sequence.token_ids.append(one.token_id)
            sequence.row.append(one.token_id)
            if sequence.lookup is not None:
                sequence.lookup.extend(one.token_id)
            taken.append(one)
            sequence.finish_reason = self._finish_reason(sequence, one.token_id)
            if sequence.finish_reason is not None:
                break
            if self._decides_next(sequence, one.token_id):
                break  # what follows is not the model's free choice, so guesses after it say nothing
        # The newest token is never computed yet; guesses that were wrong do not count.
        self.scheduler.advance(sequence, len(sequence.token_ids) - 1)
        sequence.forget_features()
        if sequence.finish_reason is not None:
            self.scheduler.remove(sequence)
        return Output(sequence, tuple(taken), sequence.finish_reason)

    def _accept(self, sequence: Sequence, constraint: Constraint, sampled: Sampled, logits_V: torch.Tensor) -> Sampled:
        """What the structure makes of a token: near the limit it may be another, so that the answer gets complete."""
        if sequence.error is not None:
            return sampled
        try:
            token_id = constraint.accept(sampled.token_id, sequence.max_tokens - sequence.num_output)
        except EngineError as error:
            sequence.error = error
            return sampled
        if token_id == sampled.token_id:
            return sampled
        sequence.forced.clear()  # the way home leaves no room for them
        return score(logits_V, sequence.row, token_id)

    def _finish_reason(self, sequence: Sequence, token_id: int) -> FinishReason | None:
        is_end = token_id in self.tokens.eos and not sequence.params.ignore_eos
        is_complete = sequence.constraint is not None and sequence.constraint.is_complete
        is_cut_off = sequence.num_output >= sequence.max_tokens
        if sequence.is_given_up and (is_end or is_complete or is_cut_off):
            return "repetition"
        if is_end or is_complete or token_id in sequence.params.stop_token_ids:
            return "stop"
        return "length" if is_cut_off else None

    def _decides_next(self, sequence: Sequence, token_id: int) -> bool:
        """After a token: close a block of thinking, leave a loop, end it; whether this bears on the next token."""
        sequence.thinking.take(token_id)
        self._close_thinking(sequence)
        next_in_loop = None if sequence.guard is None else sequence.guard.extend(token_id)
        if next_in_loop is not None and not sequence.forced:
            self._leave_loop(sequence, next_in_loop)
        elif sequence.thinking.owes_answer and not sequence.forced and sequence.constraint is None:
            sequence.row.forbidden = sequence.row.end_ids
        return bool(sequence.forced or sequence.row.forbidden or sequence.finish_reason)

    def _close_thinking(self, sequence: Sequence) -> None:
        num_left = sequence.max_tokens - sequence.num_output
        if not sequence.forced and sequence.thinking.must_close(num_left):
            sequence.forced = sequence.thinking.close(num_left)

    def _leave_loop(self, sequence: Sequence, next_in_loop: int) -> None:
        """Forbid what would go on with a loop; if that was done before, end the thinking, or else the answer."""
        assert sequence.guard is not None
        num_left = sequence.max_tokens - sequence.num_output
        way = None if sequence.constraint is None else sequence.constraint.closing_ids
        if not sequence.guard.is_at_end:
            sequence.row.forbidden = (next_in_loop,)
        elif sequence.thinking.is_open and num_left > 1:
            sequence.forced = sequence.thinking.close(num_left)
            sequence.guard.begin_anew()
        elif way:
            sequence.max_tokens = sequence.num_output + min(len(way), num_left)
            sequence.is_given_up, sequence.guard = True, None
        else:
            sequence.finish_reason = "repetition"

    def _thinking(self, params: SamplingParams, max_tokens: int, *, is_open: bool) -> ThinkingBlock:
        # Where the context leaves less than was asked for, the reserve is at most a quarter of it.
        reserve = params.answer_reserve
        if max_tokens < params.max_tokens:
            reserve = min(reserve, max(1, max_tokens // 4))
        return ThinkingBlock(
            is_open=is_open,
            start_id=self.tokens.start_thinking,
            end_id=self.tokens.end_thinking,
            close_ids=self.tokens.close_thinking,
            budget=params.thinking_budget,
            reserve=reserve,
        )

    def _guard(self, params: SamplingParams, prompt_ids: list[int]) -> RepetitionGuard | None:
        if not params.repetition_guard:
            return None
        return RepetitionGuard(prompt_ids, is_structured=params.structure is not None)

    def _lookup(self, token_ids: Seq[int]) -> PromptLookup | None:
        if not self.config.use_speculation:
            return None
        never = (self.model.config.image_token_id, self.model.config.video_token_id)
        return PromptLookup(token_ids, never_ids=never, end_ids=self.tokens.eos)

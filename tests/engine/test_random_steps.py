"""A thousand random steps: requests come, are aborted and preempted, the cache is small, and the books stay right."""

from __future__ import annotations

import random

from regard.engine.request import Sequence, Status
from regard.sampling_params import SamplingParams
from tests.engine.conftest import GREEDY, PROMPTS, Subject


def test_a_thousand_random_steps_keep_the_books_and_the_answers(subject: Subject) -> None:
    rng = random.Random(11)
    longest = max(len(inputs.input_ids) for inputs in subject.prompts.values())
    engine = subject.engine(num_blocks=3 * longest // 16, max_tokens_per_step=24, max_running=6)
    live: list[tuple[str, Sequence]] = []
    num_finished = num_aborted = num_preempted = 0
    for _ in range(1000):
        action = rng.random()
        if action < 0.2 and len(live) < 12:
            name = rng.choice(list(PROMPTS))
            count = rng.choice([1, 1, 1, 2])
            params = GREEDY if count == 1 else SamplingParams(max_tokens=8, n=count)
            live += [(name, sequence) for sequence in engine.add(subject.prompts[name], params)]
        elif action < 0.23 and live:
            engine.abort(rng.choice(live)[1])
            num_aborted += 1
        elif action < 0.27 and engine.scheduler.running:
            engine.scheduler.preempt(rng.choice(engine.scheduler.running))
            num_preempted += 1
        engine.step()
        engine.pool.check_integrity([sequence.blocks for _, sequence in live])
        for name, sequence in live:
            output = sequence.token_ids[sequence.num_prompt :]
            assert output == subject.truth[name][: len(output)], name
        num_finished += sum(sequence.finish_reason == "length" for _, sequence in live)
        live = [(name, sequence) for name, sequence in live if sequence.status is not Status.FINISHED]
    assert min(num_finished, num_aborted, num_preempted) >= 10, (num_finished, num_aborted, num_preempted)
    while engine.has_work:
        engine.step()
    engine.pool.check_integrity([])

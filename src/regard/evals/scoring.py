"""One number for one answer to one sample of any task: what a training run watches, and what the table averages.

accuracy = sum(score(sample, reply) for sample, reply in pairs) / len(pairs)
"""

from __future__ import annotations

from regard.evals import (
    actions,
    clips,
    documents,
    elements,
    figures,
    found_pages,
    lines,
    mockups,
    refusals,
    scenes,
    screens,
    spatial,
)
from regard.evals.task import Task
from regard.train.world.sample import Sample

_TASKS = (
    lines.TASK, documents.TASK, screens.TASK, elements.TASK, refusals.TASK, actions.TASK, scenes.TASK, clips.TASK,
    figures.TASK, spatial.TASK, mockups.TASK, found_pages.TASK,
)  # fmt: skip
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}


def score(sample: Sample, answer_text: str) -> float:
    """0 (wrong) to 1 (right); the sample's first question is the one that is scored.

    What it counts stands in the task's file: characters, boxes and points, right steps, F1 of lists, TEDS of tables.
    Raises: KeyError for a task without a scorer.
    """
    return TASKS[sample.task].score(sample, answer_text)

"""One number for one answer to one sample of any task: what a training run watches, and what the table averages.

accuracy = sum(score(sample, reply) for sample, reply in pairs) / len(pairs)
"""

from __future__ import annotations

from regard.evals import actions, clips, documents, elements, figures, lines, mockups, refusals, scenes, screens
from regard.evals.task import Task
from regard.train.world.sample import Sample

_TASKS = (
    lines.TASK, documents.TASK, screens.TASK, elements.TASK, refusals.TASK, actions.TASK, scenes.TASK, clips.TASK,
    figures.TASK, mockups.TASK,
)  # fmt: skip
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}


def score(sample: Sample, answer_text: str) -> float:
    """0 (wrong) to 1 (right); the sample's first question is the one that is scored.

    Lines: share of characters right. Screens: the point, or the middle of the box, lies in the true box.
    Scenes: 0 or 1, F1 for descriptions and boxes. Clips: 0 or 1, times within one second. Figures: 0 or 1, for several
    marks the share.
    Raises: KeyError for a task without a scorer.
    """
    return TASKS[sample.task].score(sample, answer_text)

"""A training in parts, between changes of its settings by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shallow2deep.settings import Change, TrainingSettings


@dataclass(frozen=True)
class Segment:
    """Steps under the same settings.

    Attributes:
        start, end: the first step, and the one behind the last.
        first: the first sample of the first step; no sample is used twice.
        changed: what is other than in the segment before.
    """

    start: int
    end: int
    first: int
    settings: TrainingSettings
    changed: dict[str, Any] = field(default_factory=dict)

    def samples(self, step: int) -> range:
        """The numbers of a step's samples."""
        first = self.first + (step - self.start) * samples_each(self.settings)
        return range(first, first + samples_each(self.settings))


def samples_each(settings: TrainingSettings) -> int:
    """Of a step."""
    return settings.batch * settings.accumulate


def segments(settings: TrainingSettings, changes: Sequence[Change]) -> list[Segment]:
    """The parts of a training, in order; changes behind its last step are never reached.

    >>> from shallow2deep.settings import Change, TrainingSettings
    >>> parts = segments(TrainingSettings(steps=5, batch=2), [Change(stage="", step=3, batch=4)])
    >>> [(part.start, part.end, part.first) for part in parts]
    [(0, 3, 0), (3, 5, 6)]
    """
    found: list[Segment] = []
    start, first, changed = 0, 0, dict[str, Any]()
    at_steps: dict[int, dict[str, Any]] = {}
    for change in changes:
        at_steps.setdefault(change.step, {}).update(change.values)
    for step, values in sorted(at_steps.items()):
        if step > settings.steps:
            break
        found.append(Segment(start, step, first, settings, changed))
        start, first = step, first + (step - start) * samples_each(settings)
        settings, changed = settings.model_copy(update=values), values
    return [*found, Segment(start, settings.steps, first, settings, changed)]


def segment_at(parts: Sequence[Segment], step: int) -> Segment:
    """The part to which a step belongs."""
    return next(part for part in parts if part.start <= step < part.end)


def samples_used(settings: TrainingSettings, changes: Sequence[Change]) -> int:
    """How many samples a training needs at most."""
    last = segments(settings, changes)[-1]
    return last.samples(last.end).start

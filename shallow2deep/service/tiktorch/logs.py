"""The losses and scores of a run's trainings, read from its learning curves as they grow."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

_LOSS, _DICE, _END = "training/loss", "validation/dice_", "validation/input_truth_prediction"


@dataclass(frozen=True)
class Line:
    """One step of a training, or with a score one validation.

    Attributes:
        network: the folder of the network that is trained.
        iteration: steps that were made.
        loss: of that step.
        score: mean Dice over the outputs.
        best: how many best scores there were so far.
    """

    network: Path
    iteration: int
    loss: float
    score: float | None
    best: int


class Reader:
    """Reads a run's lines, each once; of several networks one after the other."""

    def __init__(self, run: Path):
        self.best = 0
        self._run = run
        self._loaders: dict[Path, LegacyEventFileLoader] = {}
        self._best_scores: dict[Path, float] = {}
        self._loss = 0.0
        self._scores: list[float] = []

    def new(self) -> Iterator[Line]:
        """The lines since the last call."""
        for path in sorted(self._run.glob("**/tensorboard/events.out.tfevents.*"), key=lambda p: p.name):
            if path not in self._loaders:
                self._loaders[path] = LegacyEventFileLoader(str(path))
            for event in self._loaders[path].Load():
                for value in event.summary.value:
                    yield from self._lines(path.parent.parent, value.tag, value.simple_value, event.step)

    def _lines(self, network: Path, tag: str, value: float, step: int) -> Iterator[Line]:
        if tag == _LOSS:
            self._loss = value
            yield Line(network, step, value, None, self.best)
        elif tag.startswith(_DICE):
            self._scores.append(value)
        elif tag == _END and self._scores:  # it is written behind the scores
            score, self._scores = sum(self._scores) / len(self._scores), []
            if score > self._best_scores.get(network, -1.0):
                self._best_scores[network], self.best = score, self.best + 1
            yield Line(network, step, self._loss, score, self.best)


def lines_of(run: Path) -> list[Line]:
    """All lines of a run; steps that were made again after a kill count once."""
    found: list[Line] = []
    for line in Reader(run).new():
        while line.score is None and found and found[-1].network == line.network:
            if found[-1].iteration < line.iteration:
                break
            found.pop()
        found.append(line)
    return found

"""What a training leaves besides the best weights: networks as they were at some steps, and the best few."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from shallow2deep.settings import OptimisationSettings

SNAPSHOTS, BEST = "snapshots", "best"


@dataclass(frozen=True)
class Keeper:
    """Writes networks into folders of their own, `snapshots/step_…` and `best/step_…`.

    Attributes:
        folder: the training's.
        save: writes a network into a folder.
    """

    folder: Path
    settings: OptimisationSettings
    save: Callable[[Path, nn.Module], None]

    def after_step(self, network: nn.Module, step: int, seconds: tuple[float, float]) -> None:
        """Keeps the network if it is time to.

        Args:
            seconds: that training had taken before this step, and behind it.
        """
        every, minutes = self.settings.snapshot_every, self.settings.snapshot_minutes
        due = every is not None and step % every == 0
        if minutes is not None:
            before, after = (second // (60 * minutes) for second in seconds)
            due = due or after > before
        if due:
            self._write(SNAPSHOTS, network, step)

    def after_score(self, network: nn.Module, history: Sequence[Sequence[float]]) -> None:
        """Keeps the network if it is one of the best; of two equals that is the earlier one."""
        ranked = sorted(history, key=lambda entry: (-entry[1], entry[0]))
        best = {int(step) for step, _ in ranked[: self.settings.keep_best]}
        step = int(history[-1][0])
        if step in best:
            self._write(BEST, network, step)
        self._remove(BEST, lambda step: step not in best)

    def forget_after(self, step: int) -> None:
        """Removes what was kept at later steps, as training goes on from here."""
        for kind in (SNAPSHOTS, BEST):
            self._remove(kind, lambda other: other > step)

    def _write(self, kind: str, network: nn.Module, step: int) -> None:
        folder = self.folder / kind / f"step_{step:09d}"
        folder.mkdir(parents=True, exist_ok=True)
        self.save(folder, network)

    def _remove(self, kind: str, unwanted: Callable[[int], bool]) -> None:
        for path in (self.folder / kind).glob("step_*"):
            if unwanted(int(path.name.removeprefix("step_"))):
                shutil.rmtree(path)

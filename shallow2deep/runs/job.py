"""What a stage's work gets."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from shallow2deep.errors import SettingsError
from shallow2deep.runs import changes
from shallow2deep.runs.changes import Changed
from shallow2deep.runs.control import Control, Seldom
from shallow2deep.runs.events import Events

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A folder to fill, whom to ask, and whom to tell; a `Watch` for library functions.

    Attributes:
        folder: the stage's, in which an interrupted run of the same work may have left something.
        control: asked at safe points.
        events: told of progress.
    """

    folder: Path
    control: Control = field(default_factory=Control)
    events: Events = field(default_factory=Events)

    @property
    def run(self) -> Path:
        """The folder in which the artifacts of other stages lie, each in the folder of its name."""
        return self.folder.parent

    def progress(self, what: str, done: int, total: int, **values: float) -> None:
        self.events.progress(self.folder.name, what, done, total, **values)

    def picture(self, what: str, path: Path) -> None:
        self.events.emit(self.folder.name, "picture", what=what, path=str(path))

    @cached_property
    def _waiting(self) -> Seldom[set[str]]:
        return Seldom(lambda: changes.waiting(self.run))

    def asks(self) -> bool:
        return self.control.asked() is not None or self.folder.name in self._waiting()

    def steer(self, network: str, step: int) -> None:
        """Makes the changes that are asked for of this stage's training, if there are any.

        Args:
            network: the one that is trained, as in a `Change`.
            step: how many steps were made; a checkpoint holds them.

        Raises:
            Changed: the work goes on with other settings.
        """
        if self.folder.name not in changes.waiting(self.run):
            return
        try:
            change = changes.make(self.run, self.folder.name, network, step)
        except SettingsError as error:
            log.warning("%s", error)
            self.events.emit(self.folder.name, "refused", why=str(error))
            return
        log.info("%s", change)
        self.events.emit(
            self.folder.name, "changed", **change.model_dump(exclude_none=True, exclude={"stage"})
        )
        raise Changed

    def check(self) -> None:
        """See `Control.check`."""
        self.control.check()

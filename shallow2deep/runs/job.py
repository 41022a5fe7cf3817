"""What a stage's work gets."""

from dataclasses import dataclass, field
from pathlib import Path

from shallow2deep.runs.control import Control
from shallow2deep.runs.events import Events


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

    def asks(self) -> bool:
        return self.control.asked() is not None

    def check(self) -> None:
        """See `Control.check`."""
        self.control.check()

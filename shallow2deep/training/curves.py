"""Learning curves as TensorBoard reads them, written as they come."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.utils.tensorboard import summary

from shallow2deep.io.atomic import room_for


class Curves:
    """Scalars and pictures by step; torch's own writer has a thread for it, which cannot tell of a full disk.

    Args:
        folder: gets one more file.
        step: what earlier files say of later steps does not count.
    """

    def __init__(self, folder: Path, step: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._file = self._path.open("xb")
        self._records = RecordWriter(self._file)
        self._add(Event(file_version="brain.Event:2"))
        self._add(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):  # what could not be written has been told
            self._file.close()

    def scalar(self, name: str, value: float, step: int) -> None:
        self._add(Event(step=step, summary=summary.scalar(name, value)))

    def picture(self, name: str, image: Tensor, step: int) -> None:
        """float `(1, y, x)` in 0..1."""
        made: Summary = summary.image(name, image.numpy(), dataformats="CHW")
        self._add(Event(step=step, summary=made))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        content = event.SerializeToString()
        with room_for(self._path, len(content)):
            self._records.write(content)
            self._file.flush()

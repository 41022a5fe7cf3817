"""What `s2d` starts with: SIGINT and SIGTERM end it with 130 and 143 from the first instruction on.

The commands take over where they can stop at a safe point.
"""

import atexit
import os
import signal
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _end(number: int, frame: FrameType | None) -> None:
    """Raises, so that what was begun is removed; at once if it might be lost, or the second time."""
    for name in _SIGNALS:
        signal.signal(name, _end_at_once)
    if _is_importing(frame):  # libraries catch everything while they are imported
        _end_at_once(number, frame)
    os.write(2, f"s2d: stopped by {signal.Signals(number).name}\n".encode())
    raise SystemExit(128 + number)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _ignore_signals() -> None:
    """The interpreter's last steps would give a signal its default: death by it, whatever the exit code."""
    for name in _SIGNALS:
        signal.signal(name, signal.SIG_IGN)


for _name in _SIGNALS:
    signal.signal(_name, _end)
atexit.register(_ignore_signals)  # the first one registered runs last


def main() -> NoReturn:
    """Entry point of `s2d` and `python -m shallow2deep`."""
    from shallow2deep.cli import main as run

    run()

"""Checkpoints inside a stage: the last two are kept, and a damaged one falls back to the one before.

Each is an archive of torch's whose comment is the checksum of all that stands before it.
"""

import hashlib
import io
import logging
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from shallow2deep.io.atomic import write_bytes

log = logging.getLogger(__name__)

_KEPT = 2
_NAME = re.compile(r"step_(\d{9})\.pt")
_DIGITS = 64  # of a sha256
_LENGTH = struct.pack("<H", _DIGITS)  # of the comment, as archives state it at their end


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Writes `state` (tensors, numbers, strings, lists and dicts of them) as the checkpoint of `step`."""
    out = io.BytesIO()
    torch.save(state, out)
    archive = out.getvalue()[: -len(_LENGTH)] + _LENGTH
    write_bytes(folder / f"step_{step:09d}.pt", archive + hashlib.sha256(archive).hexdigest().encode())
    for old in _found(folder)[:-_KEPT]:
        old.unlink()


def load_checkpoint(
    folder: Path, misfit: Callable[[dict[str, Any]], str] = lambda state: ""
) -> dict[str, Any] | None:
    """The newest checkpoint that is as it was written, on the CPU, or None. Runs no code from it.

    Args:
        misfit: why a state cannot be gone on from, if so.
    """
    for path in reversed(_found(folder)):
        try:
            content = path.read_bytes()
            archive, digest = content[:-_DIGITS], content[-_DIGITS:]
            if hashlib.sha256(archive).hexdigest().encode() != digest:
                raise ValueError("its checksum differs")
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if why := misfit(state):
                log.warning("checkpoint %s %s: going back to the one before", path, why)
                continue
            return state
        except MemoryError:
            raise
        except Exception as error:  # torch names no list of what a damaged file raises
            log.warning("checkpoint %s is damaged (%s): going back to the one before", path, error)
    return None


def _found(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step_*.pt") if _NAME.fullmatch(p.name))

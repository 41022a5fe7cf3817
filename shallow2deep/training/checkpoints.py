"""Checkpoints inside a stage: the last two are kept, and a damaged one falls back to the one before."""

import logging
import re
from pathlib import Path
from typing import Any

import torch

from shallow2deep.io.atomic import atomic_path

log = logging.getLogger(__name__)

_KEPT = 2
_NAME = re.compile(r"step_(\d{9})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Writes `state` (tensors, numbers, strings, lists and dicts of them) as the checkpoint of `step`."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"step_{step:09d}.pt") as path:
        torch.save(state, path)
    for old in _found(folder)[:-_KEPT]:
        old.unlink()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, on the CPU; None if there is none. Runs no code from it."""
    for path in reversed(_found(folder)):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        except MemoryError:
            raise
        except Exception as error:  # torch names no list of what a damaged file raises
            log.warning(
                "checkpoint %s is damaged (%s): going back to the one before", path, type(error).__name__
            )
    return None


def _found(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step_*.pt") if _NAME.fullmatch(p.name))

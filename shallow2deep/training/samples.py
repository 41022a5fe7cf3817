"""Training samples cut from the pool; sample i depends on (seed, i) alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import zarr
from torch import Tensor

from shallow2deep.io.stored import size_in_bytes
from shallow2deep.outputs import BOUNDARY, FOREGROUND, IGNORED, Output
from shallow2deep.seeding import generator
from shallow2deep.training.augment import Kind
from shallow2deep.training.validation import Sample

_HELD_IN = {"map": "maps", "raw": "raw", FOREGROUND: "classes", BOUNDARY: "boundaries"}
_SHARE = 8  # of the available memory, one part in so many


@dataclass(frozen=True)
class _Pool:
    """A part of the pool.

    Its arrays: `maps` uint8 `(n, forests, C - 1, *patch)`, `boundaries` `(n, C - 1, *patch)`, `classes` and
    `raw` `(n, *patch)`.

    Attributes:
        roles: what the targets are of a class.
        inputs: what a network sees: "map", "raw", or both.
        patches: the numbers of those that are used.
    """

    path: Path
    part: str
    roles: tuple[Output, ...]
    inputs: tuple[Kind, ...]
    patches: Sequence[int]

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """Those that are used; read once if there is room for them, as each is read again and again."""
        group: Any = zarr.open_group(self.path, mode="r")[self.part]  # zarr's types don't tell that it is one
        used = {
            "maps",
            *(_HELD_IN[what] for what in (*self.inputs, *(role.role for role in self.roles))),
        }
        found = {name: array for name, array in group.arrays() if name in used}
        size = sum(size_in_bytes(array.shape, array.dtype) for array in found.values())
        if size > psutil.virtual_memory().available // _SHARE:
            return found
        return {name: array[:] for name, array in found.items()}

    def sample(self, index: int, forest: int, number: int, window: tuple[slice, ...]) -> Sample:
        """Class `number` of patch `index`: inputs float32 `(inputs, *window)`, targets uint8 `(roles, …)`.

        Targets are 0, 1, or `IGNORED`.
        """
        images = {
            "map": lambda: self.arrays["maps"][(index, forest, number - 1, *window)] / np.float32(255),
            "raw": lambda: self.arrays["raw"][(index, *window)].astype(np.float32),
        }
        truths = {
            FOREGROUND: lambda: _where(self.arrays["classes"][(index, *window)], number),
            BOUNDARY: lambda: _where(self.arrays["boundaries"][(index, number - 1, *window)], 1),
        }
        image = np.stack([images[kind]() for kind in self.inputs])
        truth = np.stack([truths[role.role]() for role in self.roles])
        return _tensors(image, truth)


def start_around(
    place: Sequence[int], size: Sequence[int], shape: Sequence[int], rng: np.random.Generator
) -> list[int]:
    """Where a window of this size starts that contains a pixel of an image."""
    sides = zip(place, size, shape, strict=True)
    return [int(np.clip(p - rng.integers(s), 0, n - s)) for p, s, n in sides]


def _where(values: np.ndarray, wanted: int) -> np.ndarray:
    """1 where values are the wanted one, `IGNORED` where they are that, else 0; uint8."""
    return np.where(values == IGNORED, IGNORED, values == wanted).astype(np.uint8)


def _tensors(image: np.ndarray, truth: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(image), torch.from_numpy(truth)


@dataclass(frozen=True)
class TrainingSamples(_Pool):
    """Random crops.

    Attributes:
        stage: its random numbers are this stage's.
        foreground: share of the crops that are chosen to contain the class that they are of.
        shares: how often each patch is chosen, adding up to 1; all alike if not given.
    """

    size: tuple[int, ...]
    count: int
    seed: int
    stage: str
    foreground: float = 0.0
    shares: Sequence[float] | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = generator(self.seed, f"{self.stage} sample", index)
        _, forests, classes, *shape = self.arrays["maps"].shape
        patch, forest, number = (int(rng.integers(n)) for n in (len(self.patches), forests, classes))
        if self.shares is not None:
            patch = int(rng.choice(len(self.patches), p=self.shares))
        starts = [int(rng.integers(0, n - s + 1)) for n, s in zip(shape, self.size, strict=True)]
        if self.foreground and rng.random() < self.foreground:
            held = np.argwhere(np.asarray(self.arrays["classes"][self.patches[patch]]) == number + 1)
            if len(held):
                place = held[rng.integers(len(held))]
                starts = start_around(place, self.size, shape, rng)
        window = tuple(slice(a, a + s) for a, s in zip(starts, self.size, strict=True))
        return self.sample(self.patches[patch], forest, number + 1, window)


@dataclass(frozen=True)
class ValidationSamples(_Pool):
    """Every patch and class once, unchanged, each with another forest; cut to multiples of `step`."""

    step: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.patches) * int(self.arrays["maps"].shape[2])

    def __getitem__(self, index: int) -> Sample:
        _, forests, classes, *shape = self.arrays["maps"].shape
        place, number = divmod(index, classes)
        window = tuple(slice(0, n // step * step) for n, step in zip(shape, self.step, strict=True))
        return self.sample(self.patches[place], place % forests, number + 1, window)

"""Training samples cut from the pool; sample i depends on (seed, i) alone."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from shallow2deep.outputs import BOUNDARY, FOREGROUND, Output
from shallow2deep.seeding import generator
from shallow2deep.settings import AugmentSettings
from shallow2deep.training.augment import augment, augment_raw
from shallow2deep.training.loop import Sample


@dataclass(frozen=True)
class _Pool:
    """A part of the pool.

    Its arrays: `maps` uint8 `(n, forests, C - 1, *patch)`, `boundaries` `(n, C - 1, *patch)`, `classes` and
    `raw` `(n, *patch)`.

    Attributes:
        roles: what the targets are of a class.
        inputs: "maps" or "raw".
    """

    path: Path
    part: str
    roles: tuple[Output, ...]
    inputs: str

    @cached_property
    def arrays(self) -> dict[str, Any]:
        group: Any = zarr.open_group(self.path, mode="r")[self.part]  # zarr's types don't tell that it is one
        return dict(group.arrays())

    def targets(self, index: int, number: int, window: tuple[slice, ...]) -> np.ndarray:
        """uint8 `(roles, *window)` for class `number`."""
        found = {
            FOREGROUND: lambda: self.arrays["classes"][(index, *window)] == number,
            BOUNDARY: lambda: self.arrays["boundaries"][(index, number - 1, *window)] > 0,
        }
        return np.stack([found[role.role]() for role in self.roles]).astype(np.uint8)

    def image(self, index: int, forest: int, number: int, window: tuple[slice, ...]) -> np.ndarray:
        """float32 `(*window)`: the map of class `number`, or raw."""
        if self.inputs == "raw":
            return np.asarray(self.arrays["raw"][(index, *window)])
        return np.asarray(self.arrays["maps"][(index, forest, number - 1, *window)] / np.float32(255))


@dataclass(frozen=True)
class TrainingSamples(_Pool):
    """Augmented random crops.

    Attributes:
        stage: its random numbers are this stage's.
    """

    size: tuple[int, ...]
    settings: AugmentSettings
    count: int
    seed: int
    stage: str

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = generator(self.seed, f"{self.stage} sample", index)
        patches, forests, classes, *shape = self.arrays["maps"].shape
        patch, forest, number = (int(rng.integers(n)) for n in (patches, forests, classes))
        starts = [int(rng.integers(0, n - s + 1)) for n, s in zip(shape, self.size, strict=True)]
        window = tuple(slice(a, a + s) for a, s in zip(starts, self.size, strict=True))
        targets = self.targets(patch, number + 1, window)
        image = self.image(patch, forest, number + 1, window)
        if self.inputs == "maps":
            image, targets = augment(image, targets, self.settings, rng)
            return torch.from_numpy(image)[None], torch.from_numpy(targets)
        channels, targets = augment_raw(image[None], targets, self.settings, rng)
        return torch.from_numpy(channels), torch.from_numpy(targets)


@dataclass(frozen=True)
class ValidationSamples(_Pool):
    """Every patch and class once, unchanged, each with another forest; cut to multiples of `step`."""

    step: tuple[int, ...]

    def __len__(self) -> int:
        return int(self.arrays["maps"].shape[0] * self.arrays["maps"].shape[2])

    def __getitem__(self, index: int) -> Sample:
        _, forests, classes, *shape = self.arrays["maps"].shape
        patch, number = divmod(index, classes)
        window = tuple(slice(0, n // step * step) for n, step in zip(shape, self.step, strict=True))
        image = self.image(patch, patch % forests, number + 1, window)
        targets = self.targets(patch, number + 1, window)
        return torch.from_numpy(image)[None], torch.from_numpy(targets)

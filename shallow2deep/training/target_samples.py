"""Training samples of the target: raw, pseudo-labels, their weights and strokes."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from shallow2deep.outputs import IGNORED
from shallow2deep.seeding import generator
from shallow2deep.training.samples import start_around
from shallow2deep.training.validation import Sample


@dataclass(frozen=True)
class _TargetPool:
    """What both kinds of samples are cut from.

    Attributes:
        pool: a zarr group with an array `(C + K + 2, *spatial)` for each image: C channels of standardised
            raw, K targets, their weight, strokes.
        size: of a sample, pixels.
        channels: C.
    """

    pool: Path
    size: tuple[int, ...]
    channels: int

    @cached_property
    def _arrays(self) -> list[Any]:
        group: Any = zarr.open_group(self.pool, mode="r")
        return [group[name] for name in sorted(group.array_keys(), key=int)]


@dataclass(frozen=True)
class TargetSamples(_TargetPool):
    """Random crops of the target's images; half of them are chosen to contain a stroke.

    Attributes:
        with_strokes: share of the crops that contain a stroke, if there are strokes.
        stage: its random numbers are this stage's.
    """

    count: int
    seed: int
    stage: str
    with_strokes: float = 0.5

    @cached_property
    def _strokes(self) -> np.ndarray:
        """Image and position of every pixel under a stroke."""
        found = [np.argwhere(array[-1] > 0) for array in self._arrays]
        return np.concatenate([np.insert(places, 0, n, axis=1) for n, places in enumerate(found)])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = generator(self.seed, f"{self.stage} sample", index)
        if len(self._strokes) and rng.random() < self.with_strokes:
            image, *place = self._strokes[rng.integers(len(self._strokes))]
            shape = self._arrays[image].shape[1:]
            starts = start_around(place, self.size, shape, rng)
        else:
            areas = np.array([np.prod(array.shape[1:], dtype=float) for array in self._arrays])
            image = rng.choice(len(areas), p=areas / areas.sum())
            shape = self._arrays[image].shape[1:]
            starts = [int(rng.integers(0, n - s + 1)) for n, s in zip(shape, self.size, strict=True)]
        window = tuple(slice(a, a + s) for a, s in zip(starts, self.size, strict=True))
        part = np.asarray(self._arrays[image][(slice(None), *window)])
        return torch.from_numpy(part[: self.channels]), torch.from_numpy(part[self.channels :])


@dataclass(frozen=True)
class TargetValidation(_TargetPool):
    """The middle of every image, unchanged; the targets, without weights and strokes, are made hard.

    Pixels that weigh nothing and have no stroke are `IGNORED`.
    """

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, index: int) -> Sample:
        array = self._arrays[index]
        starts = [(n - s) // 2 for n, s in zip(array.shape[1:], self.size, strict=True)]
        window = tuple(slice(a, a + s) for a, s in zip(starts, self.size, strict=True))
        part = np.asarray(array[(slice(None), *window)])
        weight, strokes = part[-2:]
        truth = np.where((weight == 0) & (strokes == 0), IGNORED, part[self.channels : -2] > 0.5)
        return torch.from_numpy(part[: self.channels]), torch.from_numpy(truth.astype(np.uint8))

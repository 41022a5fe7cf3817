"""Whole images through forest and network, and the files that come out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from shallow2deep.settings import RawData
from shallow2deep.errors import InputError
from shallow2deep.io.formats import split_name
from shallow2deep.io.memory import require_memory
from shallow2deep.io.volumes import Volume, check_finite
from shallow2deep.io.write import write_probabilities
from shallow2deep.inputs.data import images_of, open_raw_volumes

ENDING = ".h5"


@dataclass(frozen=True)
class Image:
    """One input file: what is written for it, and the images it is predicted by.

    Attributes:
        name: for the output file, without ending; differs from those of the run's other images.
        file: where it is read from.
        parts: the image itself, or the planes of a volume; `([C,] *spatial)` each.
        stacked: whether `parts` are planes, to be put together along z.
        whole: all of it as one.
    """

    name: str
    file: Path
    parts: list[Volume]
    stacked: bool
    voxel_size: tuple[float, ...] | None
    whole: Volume

    def predict(self, predict: Callable[[np.ndarray], np.ndarray], ndim: int) -> np.ndarray:
        """`predict` of all parts, or of the whole volume where it works on `ndim` 3.

        Args:
            predict: from raw `([C,] *spatial)` to `(K, *spatial)`.

        Returns:
            float32 `(K, [z,] *spatial)`.
        """
        if self.stacked and ndim == 3:
            return predict(self.whole.read())
        results = (predict(part.read()) for part in self.parts)
        return self.join(results)

    def join(self, results: Iterable[np.ndarray]) -> np.ndarray:
        """The parts' results as one array."""
        if not self.stacked:
            return next(iter(results))
        out: np.ndarray | None = None
        for z, result in enumerate(results):
            if out is None:
                shape = (len(result), len(self.parts), *result.shape[1:])
                require_memory(4 * int(np.prod(shape)), f"the result for {self.name}")
                out = np.empty(shape, np.float32)
            out[:, z] = result
        assert out is not None, "an image without parts"
        return out

    def split(self, probabilities: np.ndarray) -> list[np.ndarray]:
        """The reverse of `join`."""
        return list(np.moveaxis(probabilities, 1, 0)) if self.stacked else [probabilities]


def open_images(data: RawData, ndim: int, channels: str = "grey") -> list[Image]:
    """The raw images of `data`, checked, each with a name of its own.

    Args:
        channels: "grey", or "each" to keep a channel axis.

    Raises:
        InputError: anything that cannot be used.
    """
    images: list[Image] = []
    names: set[str] = set()
    for volume in open_raw_volumes(data):
        colours = volume if channels == "each" else volume.grey()
        parts = images_of(colours, ndim, data.slices)
        stem = volume.file.stem + volume.time_suffix
        name = next(name for name in _names(stem) if name not in names)
        names.add(name)
        images.append(image_of(name, volume.file, colours, parts, volume.ndim > ndim))
    return images


def image_of(name: str, file: Path, whole: Volume, parts: list[Volume], stacked: bool) -> Image:
    """One input, checked.

    Raises:
        InputError: a value is NaN or infinite.
    """
    for part in parts:
        check_finite(part)
    return Image(name, file, parts, stacked, whole.voxel_size, whole)


def _names(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}_{n}" for n in count(2))


def map_path(folder: Path, image: Image) -> Path:
    """Where a stage puts its map of an image."""
    return folder / f"{image.name}{ENDING}"


def save_map(folder: Path, image: Image, probabilities: np.ndarray, channels: Sequence[str]) -> None:
    """Writes a stage's map of an image."""
    write_probabilities(map_path(folder, image), probabilities, channels, image.voxel_size)


def refuse_overwriting(targets: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Keeps results from taking the place of what they are made from.

    Raises:
        InputError: naming the input.
    """
    sources = [path.resolve() for path in inputs]
    for target in targets:
        file = split_name(str(target))[0].resolve()
        if hit := [path for path in sources if path in (file, *file.parents) or file in path.parents]:
            raise InputError(f"{target} would overwrite {hit[0]}; give another --out")

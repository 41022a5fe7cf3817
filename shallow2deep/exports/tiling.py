"""What ilastik asks of a bioimage.io package, and how it cuts an image into tiles for the network."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.exports.description import TAG, Sizes, describe
from shallow2deep.inference.block_loop import predict_blocks
from shallow2deep.inference.predictor import ArraySink, ArraySource
from shallow2deep.networks.own import sizes_of
from shallow2deep.outputs import Output

_NEWEST = 9  # that ilastik 1.4.1 and 1.4.2 read
FORMAT_VERSION = f"0.5.{_NEWEST}"
_TARGET = {2: 512, 3: 64}  # pixels per side that ilastik aims at
_AXES = {"batch", "time", "channel", "z", "y", "x"}


@dataclass(frozen=True)
class Tiling:
    """Sizes in pixels, per spatial axis.

    Attributes:
        min, step: a network takes tiles of `min + n * step` pixels, with the same n for all axes.
        halo: pixels at each side of a tile whose result is not used.
    """

    min: tuple[int, ...]
    step: tuple[int, ...]
    halo: tuple[int, ...]

    @classmethod
    def of(cls, network: nn.Module) -> "Tiling":
        """What a package states of `network`.

        ilastik takes the smallest tiles of 512 pixels or more, in 3D of 64. With a minimum of four halos it
        uses along each axis at least half of what it computes; tiles hardly larger than twice their halo
        would cost many times more.
        """
        step, halo = sizes_of(network)
        return cls(tuple(4 * n for n in halo), step, halo)

    @property
    def tile(self) -> tuple[int, ...]:
        """Pixels of ilastik's tiles."""
        sizes = list(zip(self.min, self.step, strict=True))
        n = max(-(-(_TARGET[len(sizes)] - least) // step) for least, step in sizes)
        return tuple(least + max(0, n) * step for least, step in sizes)

    @property
    def inner(self) -> tuple[int, ...]:
        """Of a tile, what is used of its result."""
        return tuple(n - 2 * halo for n, halo in zip(self.tile, self.halo, strict=True))


def predict_tiled(network: Callable[[Tensor], Tensor], image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """What ilastik shows for an image: each tile is predicted alone and cut to its middle.

    Args:
        network: gives `(1, K, *spatial)` for float32 `(1, C, *spatial)`.
        image: float32 `(C, *spatial)`.

    Returns:
        float32 `(K, *spatial)`.
    """
    sink = ArraySink(image.shape[1:])
    predict_blocks(_Tiled(network, tiling), ArraySource(image), sink, tiling.inner)
    return sink.array


@dataclass(frozen=True)
class _Tiled:
    """A network as ilastik calls it: what a tile lacks at the border is filled with the tile mirrored."""

    network: Callable[[Tensor], Tensor]
    tiling: Tiling
    border: Literal["clip"] = "clip"
    outputs: tuple[Output, ...] = ()

    @property
    def step(self) -> tuple[int, ...]:
        return (1,) * len(self.halo)

    @property
    def halo(self) -> tuple[int, ...]:
        return self.tiling.halo

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        tile, halo = self.tiling.tile, self.tiling.halo
        before = [h - s.start for h, s in zip(halo, inner, strict=True)]  # missing beyond the image's border
        widths = [(b, size - n - b) for b, size, n in zip(before, tile, block.shape[1:], strict=True)]
        x = torch.from_numpy(np.pad(block, [(0, 0), *widths], mode="reflect"))
        with torch.inference_mode():
            p = self.network(x[None])[0].numpy()
        middle = (slice(h, h + s.stop - s.start) for h, s in zip(halo, inner, strict=True))
        return p[(slice(None), *middle)]


def problems_for_ilastik(rdf: Mapping[str, Any]) -> list[str]:
    """What keeps ilastik's Trainable Domain Adaptation from listing, opening or running a model.

    Args:
        rdf: the content of rdf.yaml.

    Returns:
        One sentence for each problem.
    """
    problems = _unreadable(rdf)
    try:
        d = describe(rdf, "rdf.yaml")
    except InputError as error:
        return [*problems, str(error)]
    if TAG not in d.tags:
        problems.append(f'the tag "{TAG}" is missing, by which ilastik lists enhancers')
    if not {"torchscript", "pytorch_state_dict"} & set(d.formats):
        problems.append(
            f"the weights are {', '.join(d.formats)}, but ilastik runs torchscript and state dicts"
        )
    if len(d.inputs) != 1 or len(d.outputs) != 1:
        return [*problems, f"{len(d.inputs)} inputs and {len(d.outputs)} outputs, but ilastik takes one each"]
    given, made = d.inputs[0], d.outputs[0]
    if given.axis_names != made.axis_names:
        problems.append(f"the output's axes {made.axis_names} are not the input's, {given.axis_names}")
    if not set(given.axis_names + made.axis_names) <= _AXES:
        problems.append(f"the axes {given.axis_names} are not all among {sorted(_AXES)}")
    if len(given.channel_names) != 1:
        problems.append(f"{len(given.channel_names)} input channels, but ilastik gives the map of one class")
    if not made.channel_names or len(made.space) < 2:
        problems.append(f"the output's axes {made.axis_names} lack a channel axis of fixed size, or y and x")
    if any(values.type != "float32" for values in given.values):
        problems.append("the input is not float32, which ilastik's probabilities are")
    for axis, output in zip(given.space, made.space, strict=False):
        problems += _problems_of_halo(axis.name, axis.size, output.halo)
    return problems


def _unreadable(rdf: Mapping[str, Any]) -> list[str]:
    """What the versions of bioimageio.spec inside ilastik 1.4.1 and 1.4.2 cannot read."""
    problems = []
    version = re.fullmatch(r"0\.5\.(\d{1,4})", str(rdf.get("format_version")))
    if version and int(version[1]) > _NEWEST:  # other versions are refused by `describe`
        problems.append(f"the format version is {version[0]}, but ilastik reads up to {FORMAT_VERSION}")
    covers = rdf.get("covers") or []
    sources = [rdf.get("documentation"), rdf.get("icon"), *(covers if isinstance(covers, list) else [covers])]
    if any(not isinstance(source, str) for source in sources if source is not None):
        problems.append("documentation, covers and icon must be plain strings, or ilastik cannot read them")
    return problems


def _problems_of_halo(axis: str, size: object, halo: int) -> list[str]:
    if not isinstance(size, Sizes):
        return [f"the size of {axis} is not given as min and step, so ilastik cannot choose its tiles"]
    problems = []
    if size.min - 2 * halo < 1:
        problems.append(f"the smallest {axis} of {size.min} pixels leaves nothing of its halo of {halo}")
    if 2 * halo % size.step:
        problems.append(f"twice the halo of {halo} along {axis} is not a multiple of the step {size.step}")
    return problems

"""Networks as predictors, and whole images through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.inference.block_loop import predict_blocks
from shallow2deep.inference.moments import Moments
from shallow2deep.inference.predictor import ArraySink, ArraySource
from shallow2deep.inference.windows import Overlap
from shallow2deep.networks.applied import applied
from shallow2deep.networks.model import ModelSpec
from shallow2deep.outputs import Output
from shallow2deep.progress import Watch

BLOCK = {2: 1024, 3: 96}  # side, pixels


@dataclass(frozen=True)
class NetworkPredictor:
    """A network from normalised input to probabilities.

    Attributes:
        network: gives logits, and has `step` and `halo` as `UNet` has.
        outputs: what each channel tells.
        moments: by which a block is standardised first; None if it comes as the network expects it.
        values: what the network gives is no logits but values, which are taken as they are.
    """

    network: nn.Module
    outputs: tuple[Output, ...]
    device: torch.device | str = "cpu"
    moments: Moments | None = None
    values: bool = False

    border: Literal["mirror"] = "mirror"

    @cached_property
    def halo(self) -> tuple[int, ...]:
        return tuple(self.network.halo)  # type: ignore[arg-type]

    @cached_property
    def step(self) -> tuple[int, ...]:
        return tuple(self.network.step)  # type: ignore[arg-type]

    @cached_property
    def _ready(self) -> nn.Module:
        return applied(self.network, self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_ready"}

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        """See `Predictor`; `block` is `(C, *spatial)`, or `(*spatial)` of one channel."""
        channels = block if block.ndim > len(inner) else block[None]
        if self.moments is not None:
            channels = self.moments.standardised(channels)
        x = torch.from_numpy(np.ascontiguousarray(channels, np.float32))[None]
        with torch.inference_mode():
            found = self._ready(x.to(self.device))
            p = (found if self.values else torch.sigmoid(found))[0].float().cpu().numpy()
        return p[(slice(None), *inner)]


def predict_with_network(
    network: nn.Module,
    image: np.ndarray,
    block: tuple[int, ...] | None = None,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Probabilities of a network's outputs, block by block; beyond the border the image is mirrored.

    Args:
        network: gives logits, and has `step` and `halo` as `UNet` has.
        image: float32 `(C, *spatial)`, normalised as the network expects.
        block: pixels per axis that are predicted at a time, rounded up to the network's step; 1024 in 2D and
            96 in 3D if not given.

    Returns:
        float32 `(K, *spatial)` in 0..1.
    """
    ndim = image.ndim - 1
    return _whole(NetworkPredictor(network, (), device), image, block or (BLOCK[ndim],) * ndim)


def restore_with_network(
    network: nn.Module, image: np.ndarray, device: torch.device | str = "cpu"
) -> np.ndarray:
    """As `predict_with_network`, of a network that gives values in place of logits."""
    block = (BLOCK[image.ndim - 1],) * (image.ndim - 1)
    return _whole(NetworkPredictor(network, (), device, values=True), image, block)


def predict_raw(
    network: nn.Module,
    spec: ModelSpec,
    raw: np.ndarray,
    device: torch.device | str = "cpu",
    watch: Watch | None = None,
    overlap: Overlap | None = None,
) -> np.ndarray:
    """A raw image `([C,] *spatial)` through a segmentor or source net, normalised as in its training.

    Args:
        watch: is told how many of a large image's blocks are done.
        overlap: of windows in place of blocks.

    Returns:
        float32 `(K, *spatial)` in 0..1, in the order of `spec.outputs`.

    Raises:
        InputError: another number of channels than the network takes.
    """
    moments = Moments.of(raw) if spec.normalisation is None else Moments(*spec.normalisation)
    channels = raw if raw.ndim > spec.ndim else raw[None]
    require_channels(spec, len(channels))
    predictor = NetworkPredictor(network, spec.outputs, device, moments)
    return _whole(predictor, channels, (BLOCK[spec.ndim],) * spec.ndim, watch, overlap)


def require_channels(spec: ModelSpec, came: int) -> None:
    """Raises InputError for another number of channels than the network takes."""
    if came != spec.in_channels:
        raise InputError(
            f"raw with {came} channels came, but this {spec.kind} takes {spec.in_channels}; give such images"
        )


def _whole(
    predictor: NetworkPredictor,
    image: np.ndarray,
    block: Sequence[int],
    watch: Watch | None = None,
    overlap: Overlap | None = None,
) -> np.ndarray:
    sink, what = ArraySink(image.shape[1:]), "network blocks"
    predict_blocks(predictor, ArraySource(image), sink, block, watch=watch, what=what, overlap=overlap)
    return sink.array

"""What sizes a network takes, how far it sees, and how much memory that needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

from shallow2deep.networks.model import ModelSpec
from shallow2deep.networks.own import sizes_of
from shallow2deep.networks.unet import kernels_of, nodes_of

_FLOAT, _INDEX = 4, 8  # bytes
_OF_TRAINING = 4  # a weight, its gradient, and the optimiser's two means


@dataclass(frozen=True)
class NetworkSizes:
    """Of a network, per spatial axis in pixels of its input.

    Attributes:
        step: inputs are multiples of it.
        receptive_field: of one pixel of the output, the largest: how many pixels of the input it depends on.
        border: this near to the end of an input without mirrored surroundings, results depend on the padding.
        halo: what is read around each block, so that results do not: `border`, in whole steps.
        parameters: number of weights.
    """

    step: tuple[int, ...]
    receptive_field: tuple[int, ...]
    border: tuple[int, ...]
    halo: tuple[int, ...]
    parameters: int
    _spec: ModelSpec

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        network = spec.on_meta()
        step, halo = sizes_of(network)
        if spec.layers.own:  # its class says no more
            fields, borders = tuple(2 * h + 1 for h in halo), halo
        else:
            fields, borders = zip(*(_seen(spec, axis) for axis in range(spec.ndim)), strict=True)
        parameters = sum(p.numel() for p in network.parameters())
        return cls(step, fields, borders, halo, parameters, spec)

    def valid_sizes(self, size: Sequence[int]) -> tuple[int, ...]:
        """The smallest input that holds an image of this size."""
        return tuple(-(-n // step) * step for n, step in zip(size, self.step, strict=True))

    def training_bytes(self, patch: Sequence[int], batch: int) -> int:
        """About what one training step in float32 keeps: weights, and what each layer gives.

        Of two convolutions there are four results, before and behind each normalisation; on the way up also
        what they are given, of twice the width. Behind them come gradients, of the size of the widest layers.
        Of a network of one's own, that of a U-Net of these settings.
        """
        pixels, widths = self._levels(patch)
        tops = [n * width for n, width in zip(pixels, widths, strict=True)]
        kept = _FLOAT * sum(self._results(level) * top for level, top in enumerate(tops))
        indices = _INDEX * sum(n * width for n, width in zip(pixels[1:], widths, strict=False))
        return batch * (kept + indices + _FLOAT * 4 * tops[0]) + _OF_TRAINING * _FLOAT * self.parameters

    def _results(self, level: int) -> int:
        """How many results of a level's size are kept for its gradients."""
        layers, depth = self._spec.layers, len(self._spec.strides)
        of_block = {"residual": 6, "residual-se": 9}.get(layers.kind, 4) - (layers.norm == "none") * 2
        columns = [column for at, column in nodes_of(depth, layers.kind == "unet++") if at == level]
        given = [column + 1 if layers.kind == "unet++" else 2 for column in columns]
        gates = 3 if layers.kind == "attention" and level < depth else 0
        return of_block * (1 + len(columns)) + sum(given) + gates

    def prediction_bytes(self, block: Sequence[int]) -> int:
        """About what a block needs with its halo, in float32, on the way up at the first level.

        That is what lies beside each other there, and the copies that oneDNN makes for its own layout.
        """
        whole = [n + 2 * halo for n, halo in zip(self.valid_sizes(block), self.halo, strict=True)]
        pixels, widths = self._levels(whole)
        tops = [n * width for n, width in zip(pixels, widths, strict=True)]
        nested = self._spec.layers.kind == "unet++"  # what its blocks gave is kept for those behind them
        columns = len(self._spec.strides) - 1 if nested else 0
        below = (1 + nested) * sum(tops[1:])
        return _FLOAT * ((10 + 2 * columns) * tops[0] + below + self.parameters)

    def levels(self, size: Sequence[int]) -> list[tuple[int, tuple[int, ...], int]]:
        """Of each level of a U-Net the channels, its pixels of an input of this size, and the weights."""
        network, spec = self._spec.on_meta(), self._spec
        nested = spec.layers.kind == "unet++"
        at = [level for level, _ in nodes_of(len(spec.strides), nested)]
        pixels, found = [n // stem for n, stem in zip(size, spec.stem, strict=True)], []
        for level in range(len(spec.strides) + 1):
            blocks = [network.get_submodule(f"down.{level}")]
            for number, other in enumerate(at):
                names = ("up", "merge", "gates") if not nested else ("up", "merge")
                parts = dict(network.named_modules())
                blocks += [
                    parts[f"{n}.{number}"] for n in names if other == level and f"{n}.{number}" in parts
                ]
            weights = sum(p.numel() for block in blocks for p in block.parameters())
            found.append((spec.features * 2**level, tuple(pixels), weights))
            if level < len(spec.strides):
                pixels = [n // by for n, by in zip(pixels, spec.strides[level], strict=True)]
        return found

    def _levels(self, size: Sequence[int]) -> tuple[list[int], list[int]]:
        """Pixels and channels of each level."""
        sizes = [[n // stem for n, stem in zip(size, self._spec.stem, strict=True)]]
        for stride in self._spec.strides:
            sizes.append([n // by for n, by in zip(sizes[-1], stride, strict=True)])
        return [prod(one) for one in sizes], [self._spec.features * 2**level for level in range(len(sizes))]


def _seen(spec: ModelSpec, axis: int) -> tuple[int, int]:
    """Along an axis the largest receptive field, and how far it reaches to one side.

    From a pixel of the output back to the input, block by block: each has two convolutions, and sees those
    before it on its level and the one below, or on the way down the one above.
    """
    stem, strides = spec.stem[axis], [stride[axis] for stride in spec.strides]
    radii = [2 * (kernel[axis] // 2) for kernel in kernels_of(spec.strides, spec.ndim)]
    nodes = nodes_of(len(strides), spec.layers.kind == "unet++")
    way_up = sorted(nodes, key=lambda node: (-node[1], node[0]))
    field = reach = 0
    for pixel in range(spec.step[axis]):
        seen: dict[tuple[int, int], tuple[int, int]] = {}

        def see(node: tuple[int, int], low: int, high: int, seen: Any = seen) -> None:
            before = seen.get(node, (low, high))
            seen[node] = min(before[0], low), max(before[1], high)

        see((0, len(strides)), pixel // stem, pixel // stem)
        for level, column in way_up:
            low, high = seen[level, column][0] - radii[level], seen[level, column][1] + radii[level]
            see((level + 1, column - 1), low // strides[level], high // strides[level])
            for other, before in [(level, 0), *nodes]:
                if other == level and before < column:
                    see((level, before), low, high)
        for level in reversed(range(len(radii))):
            low, high = seen[level, 0][0] - radii[level], seen[level, 0][1] + radii[level]
            if level:
                by = strides[level - 1]
                see((level - 1, 0), low * by, (high + 1) * by - 1)
        low, high = low * stem, (high + 1) * stem - 1
        field, reach = max(field, high - low + 1), max(reach, pixel - low, high - pixel)
    return field, reach

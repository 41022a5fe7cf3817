"""A forest's map through enhancers by steps on blocks: as `Enhancer.enhance_on_disk` does it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shallow2deep.blocks import Block, blocks
from shallow2deep.inference.block_loop import BlockWork
from shallow2deep.inference.derived import Concatenated, Grey, Picked, Resized, Standardised, Weighed
from shallow2deep.inference.enhance import OF_COMPANION, Enhancer
from shallow2deep.inference.enhancers import Enhancers
from shallow2deep.inference.network_maps import NetworkPredictor
from shallow2deep.inference.predictor import BlockSource
from shallow2deep.inference.steps import Desk, Step, Sums, added, count_of, fingerprint


def enhanced_steps(
    enhancers: Enhancers, p: BlockSource, raw: BlockSource, desk: Desk
) -> tuple[list[Step], BlockSource]:
    """The steps, and the enhanced map of all classes but the first, in the order of `Enhancers.outputs`.

    Args:
        p: the forest's map `(C, *spatial)`, of as many axes as all networks see.
        raw: `([C,] *spatial)`, for companions.
    """
    steps, views, beside = list[Step](), list[BlockSource](), None
    if enhancers.need_raw:
        grey = Grey(raw, len(p.shape) - 1)
        sums, block = desk.file("grey"), enhancers.each[0].block
        steps.append(Step(desk.named("grey"), Sums(grey, block), conclude=added, conclusion=sums))
        beside = Standardised(grey, sums)
    for number in range(1, p.shape[0]):
        one, own = enhancers.of_class(number), Picked(p, (number,))
        if one is None:
            views.append(own)
            continue
        further, view = _of_class(
            one, own, beside if one.companion is not None else None, desk.part(f"{number}")
        )
        steps += further
        views.append(view)
    return steps, Concatenated(tuple(views))


def _of_class(
    one: Enhancer, p: BlockSource, beside: BlockSource | None, desk: Desk
) -> tuple[list[Step], BlockSource]:
    """At all scales, by the network and its companion, and the mean of these."""
    steps, views, factors = list[Step](), list[BlockSource](), list[float]()
    networks: list[tuple[str, NetworkPredictor, float, BlockSource | None]] = [
        ("enhancer", one.predictor, 1.0, None)
    ]
    if beside is not None:
        networks.append(("companion", one.companion_predictor, OF_COMPANION, beside))
    for name, predictor, factor, other in networks:
        for scale in one.settings.scales:
            size = one.size_at(scale, p.shape[1:])
            seen: tuple[BlockSource, ...] = (Resized(p, size),)
            if other is not None:
                seen += (Resized(other, size, -np.inf, np.inf),)
            step, found = network_step(f"{name}-{scale:g}", predictor, Concatenated(seen), one.block, desk)
            steps.append(step)
            views.append(Resized(Picked(found, tuple(one.order)), tuple(p.shape[1:])))
            factors.append(factor)
    if len(views) == 1:
        return steps, views[0]
    weights = desk.file("agreement")
    agreement = Agreement(tuple(views), p, one.block)
    conclude = partial(_weights, factors)
    steps.append(
        Step(desk.named("agreement"), agreement, conclude=conclude, conclusion=weights, about=factors)
    )
    return steps, Weighed(tuple(views), weights)


def network_step(
    name: str, predictor: NetworkPredictor, source: BlockSource, block: Sequence[int], desk: Desk
) -> tuple[Step, BlockSource]:
    """A network on blocks, and the map that it gives."""
    rounded = tuple(n + -n % step for n, step in zip(block, predictor.step, strict=True))
    size = source.shape[len(source.shape) - len(rounded) :]
    stored = desk.array(name, (len(predictor.outputs), *size), rounded)
    work = BlockWork(predictor, source, stored, rounded)
    about = [fingerprint(predictor), list(rounded), list(stored.shape)]
    return Step(desk.named(name), work, alone=True, makes=stored, about=about), stored


@dataclass(frozen=True)
class Agreement:
    """Of each block, for each map, what its Dice with the forest's map is summed up from."""

    maps: tuple[BlockSource, ...]
    p: BlockSource
    block: tuple[int, ...]

    def parts(self) -> Iterator[Block]:
        return blocks(self.p.shape[1:], self.block, (0,) * len(self.block))

    def __len__(self) -> int:
        return count_of(self.p.shape[1:], self.block)

    def __call__(self, part: Block) -> list[float]:
        found: list[float] = []
        p = self.p.read((slice(0, 1), *part.inner))
        for source in self.maps:
            one = source.read((slice(source.shape[0] - 1, source.shape[0]), *part.inner))
            both = (one * p).sum(dtype=np.float64)
            found += [float(both), float(one.sum(dtype=np.float64) + p.sum(dtype=np.float64))]
        return found


def _weights(factors: Sequence[float], found: list[Any]) -> list[float]:
    """See `weighed_mean`."""
    sums = added(found)
    dice = [(2 * both + 1) / (total + 1) for both, total in zip(sums[::2], sums[1::2], strict=True)]
    return [factor * one**2 for factor, one in zip(factors, dice, strict=True)]

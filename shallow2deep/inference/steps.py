"""Large images in steps that go on where they were killed: each makes one array, block by block."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from torch import nn

from shallow2deep.blocks import Block, Window, blocks
from shallow2deep.forests import Forest
from shallow2deep.inference.block_loop import BlockWork
from shallow2deep.inference.forest_maps import ForestPredictor
from shallow2deep.inference.network_maps import NetworkPredictor
from shallow2deep.inference.predictor import BlockSource
from shallow2deep.inference.runners import Task, Workplace
from shallow2deep.io.atomic import write_json
from shallow2deep.io.block_store import StoredArray, Unfinished
from shallow2deep.outputs import Output
from shallow2deep.progress import Watch


class Work(Protocol):
    """What is done for each block of an image; sent to where blocks are worked on."""

    def __len__(self) -> int: ...

    def parts(self) -> Iterator[Block]: ...

    def __call__(self, part: Block) -> Any:
        """JSON-able, for the step's conclusion; None where a block is written."""
        ...


@dataclass(frozen=True)
class Step:
    """One work on all blocks, after those of earlier stages.

    Attributes:
        name: differs from that of all others.
        alone: whether a block keeps all cores, or the GPU, busy by itself.
        conclude: from what all blocks came to, in their order, to numbers for the file `conclusion`.
        makes: the array that is written, to be made before; None if that is there.
        about: JSON-able; tells this step from one that would give other results.
    """

    name: str
    work: Work
    alone: bool = False
    conclude: Callable[[list[Any]], list[float]] | None = None
    conclusion: Path | None = None
    makes: StoredArray | None = None
    about: Any = None

    @property
    def key(self) -> list[Any]:
        """JSON-able: steps of the same key on the same data give the same results."""
        return [self.name, self.about, len(self.work)]


@dataclass(frozen=True)
class Desk:
    """Where the steps of one image put what is needed meanwhile."""

    folder: Path
    prefix: str = ""

    def array(self, name: str, shape: tuple[int, ...], block: Sequence[int]) -> StoredArray:
        return StoredArray(self.folder / self.named(name), shape, tuple(block))

    def file(self, name: str) -> Path:
        return self.folder / f"{self.named(name)}.json"

    def named(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def part(self, name: str) -> "Desk":
        return Desk(self.folder, f"{self.prefix}{name}-")


@dataclass(frozen=True)
class Copied:
    """A predictor that gives what it gets."""

    channels: int
    ndim: int

    border: Literal["clip"] = "clip"

    @property
    def halo(self) -> tuple[int, ...]:
        return (0,) * self.ndim

    @property
    def step(self) -> tuple[int, ...]:
        return (1,) * self.ndim

    @property
    def outputs(self) -> tuple[Output, ...]:
        return (Output(None),) * self.channels

    def __call__(self, block: np.ndarray, inner: Window) -> np.ndarray:
        return block[(slice(None), *inner)]


def copied(name: str, source: BlockSource, sink: StoredArray, block: tuple[int, ...]) -> Step:
    """A step that writes what a view gives."""
    copy = Copied(source.shape[0], len(block))
    return Step(name, BlockWork(copy, source, sink, block), about=[list(sink.shape), list(block)])


@dataclass(frozen=True)
class Sums:
    """Of each block of a source `(1, *spatial)` the number of its pixels, their sum, and that of squares."""

    source: BlockSource
    block: tuple[int, ...]

    def parts(self) -> Iterator[Block]:
        return blocks(self.source.shape[1:], self.block, (0,) * len(self.block))

    def __len__(self) -> int:
        return count_of(self.source.shape[1:], self.block)

    def __call__(self, part: Block) -> list[float]:
        values = self.source.read((slice(0, 1), *part.inner))
        return [values.size, float(values.sum()), float((values * values).sum())]


def added(found: list[list[float]]) -> list[float]:
    """What blocks came to, summed up in their order."""
    return [float(sum(column)) for column in zip(*found, strict=True)]


def count_of(shape: Sequence[int], block: Sequence[int]) -> int:
    """How many blocks an image has."""
    return int(np.prod([-(-n // b) for n, b in zip(shape, block, strict=True)]))


def carry_out(
    stages: Sequence[Sequence[Step]], place: Unfinished, workplace: Workplace, watch: Watch | None
) -> None:
    """Does what is not done yet of all steps; those of a stage at the same time, stage after stage."""
    done = place.done()
    steps = [step for stage in stages for step in stage]
    total, numbers = sum(len(step.work) for step in steps), {step.name: n for n, step in enumerate(steps)}
    for step in steps:
        if step.makes is not None:
            step.makes.create()
    _tell(watch, len(done), total)
    with workplace.crew([step.work for step in steps]) as crew:
        for stage in stages:
            for (n, index, _), result in crew(_left(stage, numbers, done), any(step.alone for step in stage)):
                piece = f"{steps[n].name} {index}"
                place.note([(piece, result)])
                done[piece] = result
                _tell(watch, len(done), total)
            for step in stage:
                if step.conclude is not None and step.conclusion is not None:
                    found = [done[f"{step.name} {index}"] for index in range(len(step.work))]
                    write_json(step.conclusion, step.conclude(found))


def _left(stage: Sequence[Step], numbers: dict[str, int], done: dict[str, Any]) -> Iterator[Task]:
    for step in stage:
        for index, part in enumerate(step.work.parts()):
            if f"{step.name} {index}" not in done:
                yield numbers[step.name], index, part


def _tell(watch: Watch | None, done: int, total: int) -> None:
    if watch is not None:
        watch.progress("blocks", done, total)


def fingerprint(predictor: ForestPredictor | NetworkPredictor) -> str:
    """The same for what gives the same maps."""
    if isinstance(predictor, ForestPredictor):
        return f"{_of_forest(predictor.forest)} {predictor.device} {predictor.engine}"
    moments = predictor.moments and [predictor.moments.mean, predictor.moments.deviation]
    return f"{_of_network(predictor.network)} {predictor.device} {moments}"


def _of_forest(forest: Forest) -> str:
    digest = hashlib.sha256(json.dumps(forest.spec.to_dict(), sort_keys=True).encode())
    for array in (
        forest.tree_sizes, forest.features, forest.thresholds, forest.children, forest.leaf_values
    ):  # fmt: skip
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _of_network(network: nn.Module) -> str:
    digest = hashlib.sha256(str(network).encode())
    for name, values in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

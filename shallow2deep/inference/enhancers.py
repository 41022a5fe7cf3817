"""Several enhancers, each for a class of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from shallow2deep.inference.enhance import Enhancer
from shallow2deep.io.disk_map import DiskMap, Map
from shallow2deep.outputs import Output

_BYTES = 2**26  # of maps that are in memory at a time


@dataclass(frozen=True)
class Enhancers:
    """One enhancer, or one for each of some classes; the classes that none is for keep the forest's maps."""

    each: tuple[Enhancer, ...]

    @property
    def need_raw(self) -> bool:
        """Whether one of them has a companion."""
        return any(one.companion is not None for one in self.each)

    @property
    def ndim(self) -> int | None:
        """Spatial axes of what the networks see; None if they differ in that."""
        each = {one.ndim for one in self.each}
        return each.pop() if len(each) == 1 else None

    def outputs(self, classes: Sequence[str]) -> tuple[Output, ...]:
        """See `Enhancer.outputs`."""
        found: list[Output] = []
        for number, name in enumerate(classes[1:], 1):
            one = self.of_class(number) or replace(self.each[0], kept=frozenset({1}))
            found += one.outputs((classes[0], name))
        return tuple(found)

    def enhance(self, probabilities: np.ndarray, raw: np.ndarray | None = None) -> np.ndarray:
        """See `Enhancer.enhance`."""
        if len(self.each) == 1:
            return self.each[0].enhance(probabilities, raw)
        maps = [p[None] for p in probabilities]
        found = self._by_class(maps, lambda one, pair: one.enhance(np.concatenate(pair), raw))
        return np.concatenate([np.asarray(part) for part in found])

    def enhance_on_disk(self, probabilities: Sequence[Map], raw: np.ndarray | None = None) -> DiskMap:
        """See `Enhancer.enhance_on_disk`."""
        if len(self.each) == 1:
            return self.each[0].enhance_on_disk(probabilities, raw)
        found = self._by_class(probabilities, lambda one, pair: one.enhance_on_disk(pair, raw))
        out = DiskMap((sum(part.shape[0] for part in found), *found[0].shape[1:]))
        step = max(1, _BYTES // (4 * out.shape[0] * prod(out.shape[2:])))
        for start in range(0, out.shape[1], step):
            rows = slice(start, min(start + step, out.shape[1]))
            window = (rows, *(slice(0, n) for n in out.shape[2:]))
            out.write(window, np.concatenate([part[:, rows] for part in found]))
        return out

    def _by_class(
        self, probabilities: Sequence[Map], apply: Callable[[Enhancer, Sequence[Map]], Map]
    ) -> list[Map]:
        """Of each class but the first its enhanced map, or its own, by maps `(1, *spatial)` of all."""
        found = []
        for number, p in enumerate(probabilities[1:], 1):
            one = self.of_class(number)
            found.append(p if one is None else apply(one, [probabilities[0], p]))
        return found

    def of_class(self, number: int) -> Enhancer | None:
        """The one for a class, as it is applied to that class alone."""
        pairs = zip(self.each, self._alone, strict=True)
        return next((alone for one, alone in pairs if number not in one.kept), None)

    @cached_property
    def _alone(self) -> list[Enhancer]:
        """Each as it is applied to one class; made once, as each gets its networks ready once."""
        return [replace(one, kept=frozenset()) for one in self.each]

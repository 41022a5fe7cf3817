"""Cuts an image of any number of dimensions into blocks with a halo."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

Window = tuple[slice, ...]


@dataclass(frozen=True)
class Block:
    """One block of an image.

    Attributes:
        inner: the block itself, in image coordinates; the inner windows tile the image.
        outer: the block with its halo, clipped at the image border.
        local: the inner window in coordinates of the outer one.
    """

    inner: Window
    outer: Window
    local: Window


def blocks(shape: Sequence[int], block: Sequence[int], halo: Sequence[int]) -> Iterator[Block]:
    """Blocks of an image in scan order.

    Args:
        shape: the image's size along each axis.
        block: the size of an inner block along each axis; the last one may be smaller.
        halo: pixels added on both sides of each axis, as far as the image goes.

    >>> [(b.inner, b.outer, b.local) for b in blocks((5,), (4,), (1,))]  # doctest: +NORMALIZE_WHITESPACE
    [((slice(0, 4, None),), (slice(0, 5, None),), (slice(0, 4, None),)),
     ((slice(4, 5, None),), (slice(3, 5, None),), (slice(1, 2, None),))]
    """
    for start in product(*(range(0, size, step) for size, step in zip(shape, block, strict=True))):
        inner = tuple(slice(a, min(a + b, n)) for a, b, n in zip(start, block, shape, strict=True))
        outer = tuple(
            slice(max(s.start - h, 0), min(s.stop + h, n)) for s, h, n in zip(inner, halo, shape, strict=True)
        )
        local = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
        yield Block(inner, outer, local)

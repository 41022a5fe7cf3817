"""Which files belong together, by their names."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from shallow2deep.io.volumes import Volume

log = logging.getLogger(__name__)

_FIRST_CHANNEL = "_0000"  # as nnU-Net names images, but not their labels

T = TypeVar("T")


def plain_name(volume: Volume) -> str:
    """The file's name without ending, and without what only says whether it is raw, strokes, objects …"""
    stem = plain_stem(volume.file.stem).removesuffix("_objects")
    return re.sub(r"_(raw|image|strokes|labels)$", "", stem) + volume.time_suffix


def plain_stem(stem: str) -> str:
    """Of `a.ome.tif` and `a.ome.zarr`, whose ending has two parts, `a`."""
    return re.sub(r"(?i)\.ome$", "", stem)


def owners(names: Sequence[str], keys: Sequence[str]) -> list[int] | None:
    """For each name the position of the key that it belongs to: `a_Probabilities` and `a` belong to `a`.

    A name equals its key or goes on with something that is no letter or digit; the longest key counts. Keys
    may all end in `_0000`, the number of a first channel, which the names lack.

    Returns:
        None if names do not tell: one has no key, or two have the same, or two keys are alike.

    >>> owners(["b_labels", "a_labels"], ["a", "b"])
    [1, 0]
    >>> owners(["first", "second"], ["a", "b"])
    """
    found = _places(names, keys)
    if found is None and all(key.endswith(_FIRST_CHANNEL) for key in keys):
        return _places(names, [key.removesuffix(_FIRST_CHANNEL) for key in keys])
    return found


def _places(names: Sequence[str], keys: Sequence[str]) -> list[int] | None:
    places = {key: n for n, key in enumerate(keys)}
    found = [_place(name, places) for name in names]
    alike = len(places) < len(keys) or len(set(found)) < len(found)
    return None if alike or -1 in found else found


def _place(name: str, places: Mapping[str, int]) -> int:
    ends = (n for n in range(len(name), 0, -1) if not name[n : n + 1].isalnum())
    return next((places[name[:n]] for n in ends if name[:n] in places), -1)


def in_order(items: Sequence[T], names: Sequence[str], keys: Sequence[str], what: str) -> list[T]:
    """Items of these names, in the order of the keys that they belong to.

    Where names do not tell, items stay in their own order, and a warning says which go with which.
    """
    found = owners(names, keys)
    if found is not None:
        return [items[n] for n in sorted(range(len(names)), key=found.__getitem__)]
    if 1 < len(names) == len(keys):
        pairs = ", ".join(f"{name} -> {key}" for name, key in zip(names, keys, strict=True))
        log.warning("names do not tell which %s belong to which images; taken in order: %.300s", what, pairs)
    return list(items)

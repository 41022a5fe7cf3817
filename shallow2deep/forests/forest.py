"""A random forest as plain arrays: stored without pickle, checked when loaded."""

import json
import platform
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from shallow2deep.errors import DamagedFileError, InputError, TooLittleMemoryError, one_line
from shallow2deep.features import FeatureSpec
from shallow2deep.io.atomic import atomic_path
from shallow2deep.io.memory import require_memory
from shallow2deep.version import VERSION

_FORMAT = 1
_MAX_RECORD = 2**20  # bytes
_MAX_CLASSES = 255
_MAX_RATIO, _SMALL = 200, 2**26  # of unpacked to packed bytes, where they are many
_TYPES: dict[str, np.dtype] = {
    "tree_sizes": np.dtype("<i4"),
    "features": np.dtype("<i2"),
    "thresholds": np.dtype("<f4"),
    "children": np.dtype("<i4"),
    "leaf_values": np.dtype("<f4"),
    "record": np.dtype("u1"),
}
_LEAF = -1


@dataclass(frozen=True, eq=False, repr=False)
class Forest:
    """Trees over the features of one spec. At a node, `x <= threshold` goes left.

    Attributes:
        spec: the features it was trained on, and needs.
        classes: names, in the order of the probabilities.
        tree_sizes: int32 `(trees,)`, number of nodes of each tree; trees follow one another below.
        features: int16 `(nodes,)`, the feature that a node looks at, -1 in a leaf.
        thresholds: float32 `(nodes,)`, 0 in a leaf.
        children: int32 `(nodes,)`, the left child, counted from the tree's first node; the right child is
            the next one. Nodes stand breadth first, so children come after their parents. 0 in a leaf.
        leaf_values: float32 `(leaves, classes)`, probabilities, in the order of the leaves.
        record: how it was made; plain values.
    """

    spec: FeatureSpec
    classes: tuple[str, ...]
    tree_sizes: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    children: np.ndarray
    leaf_values: np.ndarray
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InputError(f"a forest with {problem} was given; train it again")

    def __repr__(self) -> str:
        parts = [f"{self.n_trees} trees", f"{len(self.classes)} classes", f"{self.spec.n_features} features"]
        raw = self.record.get("raw")
        if isinstance(raw, Mapping) and "dtype" in raw:
            parts.append(f"learned on {raw['dtype']}")
        return f"Forest({', '.join(parts)})"

    @property
    def n_trees(self) -> int:
        return len(self.tree_sizes)

    def save(self, path: str | Path) -> None:
        """Writes the forest as a compressed npz, whole or not at all; the same bytes for equal forests."""
        record = {
            "format": _FORMAT,
            "spec": self.spec.to_dict(),
            "classes": list(self.classes),
            "versions": {"shallow2deep": VERSION, "python": platform.python_version()},
            "record": dict(self.record),
        }
        arrays: dict[str, Any] = {name: getattr(self, name) for name, _ in _arrays()}
        text = np.frombuffer(json.dumps(record, sort_keys=True).encode(), np.uint8)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays, record=text)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a forest. No code in the file is run, and what is read is checked.

        Raises:
            DamagedFileError: missing, truncated, altered or crafted.
            TooLittleMemoryError: larger than the memory there is.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                arrays = _read(archive)
            record = json.loads(arrays.pop("record").tobytes())
            if record["format"] != _FORMAT:
                raise InputError(f"format {record['format']} where {_FORMAT} is known")
            classes = tuple(str(name) for name in record["classes"])
            return cls(
                FeatureSpec.from_dict(record["spec"]), classes, **arrays, record=dict(record["record"])
            )
        except TooLittleMemoryError:
            raise
        except MemoryError:
            raise TooLittleMemoryError(f"{path}: too little memory for the forest; free some") from None
        except (
            OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
            NotImplementedError, RuntimeError, InputError, zipfile.BadZipFile, zlib.error,
        ) as error:  # fmt: skip
            raise DamagedFileError(
                f"{path}: not a usable forest ({one_line(error)}); train it again"
            ) from None

    def _problem(self) -> str | None:
        """What is wrong with the arrays, or None. What passes cannot lead the kernel out of bounds."""
        for name, dtype in _arrays():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != (2 if name == "leaf_values" else 1):
                return f"{name} of type {array.dtype} and {array.ndim} axes"
        n = len(self.features)
        if not 2 <= len(self.classes) <= _MAX_CLASSES or len(set(self.classes)) != len(self.classes):
            return f"classes {self.classes!r:.80}"
        if not (n == len(self.thresholds) == len(self.children)):
            return "node arrays of different lengths"
        if self.n_trees < 1 or self.tree_sizes.min() < 1 or self.tree_sizes.sum(dtype=np.int64) != n:
            return "tree sizes that do not add up to its nodes"
        leaf = self.features == _LEAF
        if self.leaf_values.shape != (int(leaf.sum()), len(self.classes)):
            return f"leaf values of shape {self.leaf_values.shape} for {int(leaf.sum())} leaves"
        sizes = np.repeat(self.tree_sizes, self.tree_sizes)
        own = np.arange(n) - np.repeat(
            np.cumsum(self.tree_sizes, dtype=np.int64) - self.tree_sizes, self.tree_sizes
        )
        inner = ~leaf
        if (self.features[inner] < 0).any() or (self.features[inner] >= self.spec.n_features).any():
            return f"features outside the {self.spec.n_features} of its spec"
        before = np.cumsum(inner) - inner
        before -= before[np.arange(n) - own]  # inner nodes before each, in its tree
        if (self.children[inner] != 2 * before[inner] + 1).any() or (2 * before + 2 >= sizes)[inner].any():
            return "children that are not in breadth-first order"
        if not np.isfinite(self.thresholds).all():
            return "thresholds that are not finite"
        if not (np.isfinite(self.leaf_values).all() and (abs(self.leaf_values.sum(1) - 1) < 1e-3).all()):
            return "leaf values that are not probabilities"
        if (self.leaf_values < 0).any():
            return "negative leaf values"
        return None


def _arrays() -> list[tuple[str, np.dtype]]:
    return [(name, dtype) for name, dtype in _TYPES.items() if name != "record"]


def _read(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """The arrays of the archive; each one's header is checked before anything is allocated for it."""
    entries = {info.filename: info for info in archive.infolist()}
    if entries.keys() != {f"{name}.npy" for name in _TYPES} or len(archive.infolist()) != len(_TYPES):
        raise ValueError(f"entries {sorted(entries)!r:.80}")
    for name, info in entries.items():
        if info.file_size > max(_MAX_RATIO * info.compress_size, _SMALL):
            raise ValueError(f"{name} of {info.compress_size} bytes that unpack to {info.file_size}")
    require_memory(
        2 * sum(info.file_size for info in entries.values()), "the forest"
    )  # it is read, then kept
    arrays = {}
    for name, dtype in _TYPES.items():
        with archive.open(f"{name}.npy") as file:
            arrays[name] = _read_array(file, entries[f"{name}.npy"].file_size, dtype)
    if len(arrays["record"]) > _MAX_RECORD:
        raise ValueError("a record of that size")
    return arrays


def _read_array(file: IO[bytes], size: int, dtype: np.dtype) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"npy version {version}")
    try:
        shape, fortran, found = np.lib.format.read_array_header_1_0(file)
    except (SyntaxError, tokenize.TokenError):  # it is written as Python
        raise ValueError("a header that cannot be read") from None
    count = int(np.prod(shape, dtype=object))
    if found != dtype or (fortran and len(shape) > 1) or count * dtype.itemsize + file.tell() != size:
        raise ValueError(f"an array of type {found} and shape {shape} in {size} bytes")
    return np.frombuffer(file.read(), dtype).reshape(shape)

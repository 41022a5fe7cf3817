"""Tensors of messages as arrays, and back."""

import math
from collections.abc import Sequence

import numpy as np

from shallow2deep.errors import InputError, one_line
from shallow2deep.io.memory import require_memory
from shallow2deep.service.tiktorch.protocol import utils_pb2 as messages

AXES = ("batch", "channel", "z", "y", "x")
_SHORT = {"b": "batch", "c": "channel"}
_KINDS = "biuf"


def array_of(tensor: messages.Tensor, axes: Sequence[str] = AXES) -> np.ndarray:
    """The values of a tensor, its axes in the order of `axes`.

    Raises:
        InputError: other axes, a type that is no number, or as many bytes as its shape does not have.
    """
    names, shape = names_of(tensor), [axis.size for axis in tensor.shape]
    try:
        dtype = np.dtype(tensor.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in _KINDS:
        raise InputError(f"a tensor of type {one_line(tensor.dtype)!r} came; give one of numbers, as float32")
    if sorted(names) != sorted(axes):
        raise InputError(f"a tensor of axes {one_line(names)} came; give {', '.join(axes)}, in any order")
    size = math.prod(shape) * dtype.itemsize
    if not size or len(tensor.buffer) != size:
        raise InputError(
            f"a tensor of shape {tuple(shape)} and {len(tensor.buffer)} bytes came; give as many as it has"
        )
    require_memory(size, "a tensor")
    values = np.frombuffer(tensor.buffer, dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("a tensor with values that are NaN or infinite came; give finite ones")
    return values.transpose([names.index(axis) for axis in axes])


def names_of(tensor: messages.Tensor) -> list[str]:
    """Of its axes, in full."""
    return [_SHORT.get(axis.name, axis.name) for axis in tensor.shape]


def tensor_of(name: str, values: np.ndarray, axes: Sequence[str]) -> messages.Tensor:
    """A tensor of a name."""
    shape = [messages.NamedInt(size=n, name=axis) for n, axis in zip(values.shape, axes, strict=True)]
    return messages.Tensor(buffer=values.tobytes(), dtype=values.dtype.name, tensorId=name, shape=shape)

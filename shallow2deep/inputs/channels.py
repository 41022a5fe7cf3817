"""Which channel of a map in a file is meant."""

from collections.abc import Sequence

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.io.map_files import read_outputs
from shallow2deep.io.volumes import Volume
from shallow2deep.outputs import BOUNDARY, FOREGROUND, Output

_ROUNDING = 0.05  # probabilities of two classes add up to 1 within this, also when stored in 8 bits


def channel_number(volume: Volume, channel: int | str | None) -> int:
    """The channel that is asked for, or else that of the one foreground class.

    Args:
        volume: a map `(C, *spatial)`; it is read only if it has two channels and does not say what they tell.
        channel: a name as the file gives it, or a number from 0.

    Raises:
        InputError: it is not there, or none is asked for and it is not evident.
    """
    if channel is None:
        return _foreground_channel(volume)
    titles = [output.title for output in read_outputs(volume.file) or ()]
    if isinstance(channel, str) and channel in titles:
        return titles.index(channel)
    if isinstance(channel, str) or not 0 <= channel < volume.shape[0]:
        names = f", or by its name: {', '.join(titles)}" if titles else ""
        raise InputError(
            f"{volume.name} has {volume.shape[0]} channels, and {channel} is none of them; give one by its "
            f"number, 0 to {volume.shape[0] - 1}{names}"
        )
    return channel


def _foreground_channel(volume: Volume) -> int:
    """The channel of the one foreground class: as the file tells, or else the last of one or two."""
    outputs = read_outputs(volume.file) or ()
    told = [n for n, output in enumerate(outputs) if output.role == FOREGROUND]
    if len(outputs) == volume.shape[0] and len(told) == 1:
        return told[0]
    if volume.shape[0] > 2:
        raise InputError(
            f"{volume.name} has {volume.shape[0]} channels; say by channel which one to use{_of(outputs)}"
        )
    if volume.shape[0] == 2 and np.abs(volume.read().sum(0, dtype=np.float32) - 1).max() > _ROUNDING:
        raise InputError(
            f"{volume.name} holds two structures, as its channels do not add up to 1; say by channel "
            "which one to use, 0 or 1"
        )
    return volume.shape[0] - 1


def _of(outputs: Sequence[Output]) -> str:
    return f": {', '.join(output.title for output in outputs)}" if outputs else ""


def boundary_of(outputs: Sequence[Output], number: int) -> int | None:
    """The channel with the boundary of the class that another channel tells of, if there is one."""
    if number >= len(outputs):
        return None
    wanted = Output(outputs[number].class_name, BOUNDARY)
    return outputs.index(wanted) if wanted in outputs else None


def of_class(p: np.ndarray, outputs: Sequence[Output], number: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A foreground class, by number from 0, in a map `(K, *spatial)`, and its boundary if there is one."""
    place = [n for n, output in enumerate(outputs) if output.role == FOREGROUND][number]
    edge = boundary_of(outputs, place)
    return p[place], None if edge is None else p[edge]

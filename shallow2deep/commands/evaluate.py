"""`s2d evaluate`: scores probability maps in files against label files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.evaluation.metrics import PooledScore, score
from shallow2deep.inputs.images import images_of, select
from shallow2deep.inputs.labels import checked_labels, label_image
from shallow2deep.inputs.names import in_order, plain_name
from shallow2deep.io.map_files import read_outputs
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.outputs import FOREGROUND, Output
from shallow2deep.progress import Bar, watched
from shallow2deep.settings import RawData

_ROUNDING = 0.05  # probabilities of two classes add up to 1 within this, also when stored in 8 bits


def evaluate(
    predictions: RawData,
    labels: RawData,
    valid: RawData | None = None,
    channel: int | str | None = None,
    label_value: int | None = None,
    tolerance: int = 0,
    ignore_label: int | None = None,
) -> dict[str, dict[str, float]]:
    """Scores of every image, and under "all" those of their pixels together.

    Files belong together by their names, as in `adapt`; where names do not tell they are taken in order, and
    a warning says so. Planes and volumes fit each other plane by plane.

    Args:
        predictions: probability maps with or without a channel axis.
        labels: dense labels.
        valid: masks; pixels where they are 0 do not count.
        channel: which channel of the predictions, by the name that its file gives it, or by its number in the
            file, from 0; that of the one foreground class if None.
        label_value: the label that is the foreground; every value > 0 if None.
        tolerance: pixels within this distance of the labels' boundaries do not count.
        ignore_label: pixels whose label is this do not count.

    Raises:
        InputError: files that do not fit each other.
    """
    files = _volumes(predictions)
    keys = [plain_name(volume) for volume in files]
    names, maps = _planes(files, predictions)
    truths = _planes(_matched(_volumes(labels), keys, "labels"), labels)[1]
    masks: list[Volume | None] = [None] * len(maps)
    if valid is not None:
        masks = list(_planes(_matched(_volumes(valid), keys, "valid masks"), valid)[1])
    if not len(maps) == len(truths) == len(masks):
        raise InputError(
            f"{len(maps)} predicted and {len(truths)} label planes"
            + (f", and {len(masks)} valid ones," if valid is not None else "")
            + " came; give one for each"
        )
    scores, pooled = {}, PooledScore()
    rows = list(zip(names, maps, truths, masks, strict=True))
    for name, p_file, t_file, v_file in watched(rows, len(rows), "scoring", Bar()):
        p, t = _channel(p_file, channel), _binary(t_file, label_value, ignore_label)
        v = None if v_file is None else _binary(v_file, None)
        if ignore_label is not None:
            counted = label_image(t_file).read() != ignore_label
            v = counted if v is None else v & counted
        scores[name] = score(p, t, v, tolerance)
        pooled.add(p, t, v, tolerance)
    return scores | {"all": pooled.scores}


def _volumes(data: RawData) -> list[Volume]:
    return select(open_volumes(data.raw, data.axes), data.manifest)


def _matched(volumes: list[Volume], keys: list[str], what: str) -> list[Volume]:
    """In the order of the predictions that they belong to."""
    return in_order(volumes, [plain_name(volume) for volume in volumes], keys, what)


def _planes(volumes: list[Volume], data: RawData) -> tuple[list[str], list[Volume]]:
    planes = [plane for volume in volumes for plane in images_of(volume, 2, data.slices)]
    short = [Path(plane.name).name for plane in planes]
    return short if len(set(short)) == len(short) else [plane.name for plane in planes], planes


def _channel(volume: Volume, channel: int | str | None) -> np.ndarray:
    p = volume.read()
    if "c" in volume.axes:
        p = p[_channel_number(volume, p, channel)]
    if p.dtype.kind == "f" and (not np.isfinite(p).all() or p.min() < 0 or p.max() > 1):
        raise InputError(f"{volume.name}: probabilities between 0 and 1 were expected; values lie outside")
    if p.dtype.kind != "f":
        raise InputError(f"{volume.name}: probabilities are floating-point numbers, not {p.dtype}")
    return p


def _channel_number(volume: Volume, p: np.ndarray, channel: int | str | None) -> int:
    if channel is None:
        return _foreground_channel(volume, p)
    titles = [output.title for output in read_outputs(volume.file) or ()]
    if isinstance(channel, str) and channel in titles:
        return titles.index(channel)
    if isinstance(channel, str) or not 0 <= channel < len(p):
        names = f", or by its name: {', '.join(titles)}" if titles else ""
        raise InputError(
            f"{volume.name} has {len(p)} channels, and {channel} is none of them; give one by its number, 0 "
            f"to {len(p) - 1}{names}"
        )
    return channel


def _foreground_channel(volume: Volume, p: np.ndarray) -> int:
    """The channel of the one foreground class: as the file tells, or else the last of one or two."""
    outputs = read_outputs(volume.file) or ()
    told = [n for n, output in enumerate(outputs) if output.role == FOREGROUND]
    if len(outputs) == len(p) and len(told) == 1:
        return told[0]
    if len(p) > 2:
        raise InputError(
            f"{volume.name} has {len(p)} channels; say by channel which one to score{_of(outputs)}"
        )
    if len(p) == 2 and np.abs(p.sum(0, dtype=np.float32) - 1).max() > _ROUNDING:
        raise InputError(
            f"{volume.name} holds two structures, as its channels do not add up to 1; say by channel "
            "which one to score, 0 or 1"
        )
    return len(p) - 1


def _of(outputs: Sequence[Output]) -> str:
    return f": {', '.join(output.title for output in outputs)}" if outputs else ""


def _binary(volume: Volume, value: int | None, ignored: int | None = None) -> np.ndarray:
    labels = (checked_labels(volume, ignored) if value is None else label_image(volume)).read()
    return labels > 0 if value is None else labels == value

"""`s2d evaluate`: scores probability maps in files against label files."""

from pathlib import Path

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.evaluation.metrics import pooled_score, score
from shallow2deep.inputs.images import images_of, select
from shallow2deep.io.map_files import read_outputs
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.outputs import FOREGROUND
from shallow2deep.settings import RawData

_ROUNDING = 0.05  # probabilities of two classes add up to 1 within this, also when stored in 8 bits


def evaluate(
    predictions: RawData,
    labels: RawData,
    valid: RawData | None = None,
    channel: int | None = None,
    label_value: int | None = None,
    tolerance: int = 0,
) -> dict[str, dict[str, float]]:
    """Scores of every image, and under "all" those of their pixels together.

    Args:
        predictions: probability maps with or without a channel axis.
        labels: dense labels, matched in order; planes and volumes fit each other plane by plane.
        valid: masks, matched in order; pixels where they are 0 do not count.
        channel: which channel of the predictions; the last of one or two if None.
        label_value: the label that is the foreground; every value > 0 if None.
        tolerance: pixels within this distance of the labels' boundaries do not count.

    Raises:
        InputError: files that do not fit each other.
    """
    names, maps = _planes(predictions)
    truths = _planes(labels)[1]
    masks = _planes(valid)[1] if valid is not None else [None] * len(maps)
    if not len(maps) == len(truths) == len(masks):
        raise InputError(
            f"{len(maps)} predicted and {len(truths)} label planes"
            + (f", and {len(masks)} valid ones," if valid is not None else "")
            + " came; give one for each"
        )
    ps = [_channel(volume, channel) for volume in maps]
    ts = [_binary(volume, label_value) for volume in truths]
    vs = [None if volume is None else _binary(volume, None) for volume in masks]
    scores = {name: score(p, t, v, tolerance) for name, p, t, v in zip(names, ps, ts, vs, strict=True)}
    scores["all"] = pooled_score(
        ps, ts, None if valid is None else [v for v in vs if v is not None], tolerance
    )
    return scores


def _planes(data: RawData) -> tuple[list[str], list[Volume]]:
    volumes = select(open_volumes(data.raw, data.axes), data.manifest)
    planes = [plane for volume in volumes for plane in images_of(volume, 2, data.slices)]
    short = [Path(plane.name).name for plane in planes]
    return short if len(set(short)) == len(short) else [plane.name for plane in planes], planes


def _channel(volume: Volume, channel: int | None) -> np.ndarray:
    p = volume.read()
    if "c" in volume.axes:
        channel = _foreground_channel(volume, p) if channel is None else channel
        if not -len(p) <= channel < len(p):
            raise InputError(f"{volume.name} has {len(p)} channels, so there is no channel {channel}")
        p = p[channel]
    if p.dtype.kind == "f" and (not np.isfinite(p).all() or p.min() < 0 or p.max() > 1):
        raise InputError(f"{volume.name}: probabilities between 0 and 1 were expected; values lie outside")
    if p.dtype.kind != "f":
        raise InputError(f"{volume.name}: probabilities are floating-point numbers, not {p.dtype}")
    return p


def _foreground_channel(volume: Volume, p: np.ndarray) -> int:
    """The channel of the one foreground class: as the file tells, or else the last of one or two."""
    outputs = read_outputs(volume.file) or ()
    told = [n for n, output in enumerate(outputs) if output.role == FOREGROUND]
    if len(outputs) == len(p) and len(told) == 1:
        return told[0]
    if len(p) > 2:
        raise InputError(f"{volume.name} has {len(p)} channels; say by channel which one to score")
    if len(p) == 2 and np.abs(p.sum(0, dtype=np.float32) - 1).max() > _ROUNDING:
        raise InputError(
            f"{volume.name} holds two structures, as its channels do not add up to 1; say by channel "
            "which one to score, 0 or 1"
        )
    return len(p) - 1


def _binary(volume: Volume, value: int | None) -> np.ndarray:
    labels = volume.grey().read()
    return labels > 0 if value is None else labels == value

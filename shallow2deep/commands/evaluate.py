"""`s2d evaluate`: scores probability maps, or objects, in files against label files."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.evaluation.instance_scores import instance_scores, overlap_table
from shallow2deep.evaluation.metrics import PooledScore, score
from shallow2deep.inputs.channels import channel_number
from shallow2deep.inputs.images import images_of, select
from shallow2deep.inputs.labels import checked_labels, label_image
from shallow2deep.inputs.names import in_order, plain_name
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.progress import Bar, watched
from shallow2deep.settings import RawData


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


def evaluate_objects(objects: RawData, labels: RawData) -> dict[str, dict[str, float]]:
    """Scores of the objects in label images, of each image or volume, and under "all" of all together.

    Files belong together as in `evaluate`; scores are those of `instance_scores`.

    Args:
        objects: label images: every value but 0 is an object.
        labels: label images of the true objects.

    Raises:
        InputError: files that do not fit each other.
    """
    found = _volumes(objects)
    truths = _matched(_volumes(labels), [plain_name(volume) for volume in found], "labels")
    if len(found) != len(truths):
        raise InputError(
            f"{len(found)} images of objects and {len(truths)} of labels came; give one for each"
        )
    pairs = list(zip(_short_names(found), found, truths, strict=True))
    tables = {
        name: overlap_table(checked_labels(one).read(), checked_labels(truth).read())
        for name, one, truth in watched(pairs, len(pairs), "scoring", Bar())
    }
    scores = {name: instance_scores([table]) for name, table in tables.items()}
    return scores | {"all": instance_scores(list(tables.values()))}


def _volumes(data: RawData) -> list[Volume]:
    return select(open_volumes(data.raw, data.axes), data.manifest)


def _matched(volumes: list[Volume], keys: list[str], what: str) -> list[Volume]:
    """In the order of the predictions that they belong to."""
    return in_order(volumes, [plain_name(volume) for volume in volumes], keys, what)


def _planes(volumes: list[Volume], data: RawData) -> tuple[list[str], list[Volume]]:
    planes = [plane for volume in volumes for plane in images_of(volume, 2, data.slices)]
    return _short_names(planes), planes


def _short_names(volumes: list[Volume]) -> list[str]:
    short = [Path(volume.name).name for volume in volumes]
    return short if len(set(short)) == len(short) else [volume.name for volume in volumes]


def _channel(volume: Volume, channel: int | str | None) -> np.ndarray:
    if "c" in volume.axes:
        volume = replace(volume.channel(channel_number(volume, channel)), name=volume.name)
    p = volume.read()
    if p.dtype.kind == "f" and (not np.isfinite(p).all() or p.min() < 0 or p.max() > 1):
        raise InputError(f"{volume.name}: probabilities between 0 and 1 were expected; values lie outside")
    if p.dtype.kind != "f":
        raise InputError(f"{volume.name}: probabilities are floating-point numbers, not {p.dtype}")
    return p


def _binary(volume: Volume, value: int | None, ignored: int | None = None) -> np.ndarray:
    labels = (checked_labels(volume, ignored) if value is None else label_image(volume)).read()
    return labels > 0 if value is None else labels == value

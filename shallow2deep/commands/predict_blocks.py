"""One large image into an OME-Zarr: block by block, by several workers, on from where it was killed."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from shallow2deep.inference.derived import Completed, Halved
from shallow2deep.inference.runners import Workplace
from shallow2deep.inference.steps import Desk, Step, carry_out, copied
from shallow2deep.inputs.facts import RawFacts, intensities_of
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.rescaled import rescaled
from shallow2deep.inputs.results import ImagePredictor
from shallow2deep.io.atomic import atomic_path
from shallow2deep.io.block_store import StoredArray, Unfinished, folder_of
from shallow2deep.io.known import Known
from shallow2deep.io.map_files import about_channels, chunks_of, create_ome_zarr
from shallow2deep.io.pyramids import pyramid
from shallow2deep.io.volumes import Volume
from shallow2deep.outputs import completed, is_exclusive
from shallow2deep.progress import Watch

log = logging.getLogger(__name__)

_VERSION = 1  # of how maps are made; raised with every change
_COPIED = 1024, 128  # pixels per axis that are put together at a time, in 2D and in 3D


def known_of_unfinished(target: Path) -> Known:
    """What was found out about the image of a map that is not finished."""
    return Known(folder_of(target) / "known.json")


def predict_in_blocks(
    image: Image,
    how: ImagePredictor,
    target: Path,
    rescale: bool,
    workplace: Workplace,
    known: Known,
    watch: Watch | None,
) -> None:
    """Writes the map of one image, `.zarr`, whole or not at all.

    What is made of it is in a hidden folder beside it meanwhile, and the same call goes on there: with the
    same values of raw, model and settings, in any workplace.

    Args:
        how: with a plan.
        rescale: whether raw is brought to the range that was learned on.
    """
    whole = image.stacked and how.ndim == 3
    parts = [_used(part, how, rescale) for part in ([image.whole] if whole else image.parts)]
    facts = [RawFacts.of(part, known) for part in parts]
    by_planes = image.stacked and not whole
    stages, arrays, factors = _stages(parts, facts, how, image, by_planes, folder_of(target))
    outputs = completed(how.outputs, how.background)
    key = {
        "version": _VERSION,
        "raw": [one.fingerprint for one in facts],
        "outputs": [output.to_dict() for output in outputs],
        "voxel_size": image.voxel_size,
        "steps": [[step.key for step in stage] for stage in stages],
    }
    place = Unfinished(target, key)
    if place.anew:
        log.warning("%s: was begun with other settings, data or model, so it is begun anew", target)
    elif done := len(place.done()):
        log.info("%s: goes on after %d blocks", target, done)
    known.save()
    if not place.map.exists():
        about, kind = about_channels(outputs), np.dtype(np.float32)
        with atomic_path(place.map) as temporary:
            create_ome_zarr(
                temporary,
                arrays[0].shape,
                kind,
                image.voxel_size,
                target.stem,
                about,
                "c",
                factors,
                by_planes,
            )
    carry_out(stages, place, workplace, watch)
    place.finish()


def _used(part: Volume, how: ImagePredictor, rescale: bool) -> Volume:
    """Raw as it is predicted."""
    if how.learned is None or not rescale:
        return part
    return rescaled(part, intensities_of(part), how.learned)


def _stages(
    parts: Sequence[Volume],
    facts: Sequence[RawFacts],
    how: ImagePredictor,
    image: Image,
    by_planes: bool,
    folder: Path,
) -> tuple[list[list[Step]], list[StoredArray], list[tuple[int, ...]]]:
    """All steps, the arrays of the finished map, and the factors of all but the first of these."""
    assert how.plan is not None, "asked before"
    shape = (len(completed(how.outputs, "")), *((len(parts),) if by_planes else ()), *parts[0].spatial_shape)
    factors = pyramid(shape[1:], image.voxel_size, by_planes)
    arrays = _arrays(folder / "map.zarr", shape, factors)
    planned = []
    for z, (part, known) in enumerate(zip(parts, facts, strict=True)):
        desk = Desk(folder / "scratch", f"z{z}-" if by_planes else "")
        steps, view = how.plan(part, known.moments, desk)
        if not is_exclusive(how.outputs):
            view = Completed(view, how.outputs)
        sink = arrays[0].at_plane(z) if by_planes else arrays[0]
        planned.append([*steps, copied(desk.named("map"), view, sink, _copied(sink.shape))])
    stages = [list(stage) for stage in zip(*planned, strict=True)]
    for number, (finer, coarser) in enumerate(pairwise(arrays), 1):
        view = Halved(finer, _ratios(factors, number))
        stages.append([copied(f"level {number}", view, coarser, _copied(coarser.shape, by_planes))])
    return stages, arrays, factors


def _arrays(map_: Path, shape: tuple[int, ...], factors: Sequence[tuple[int, ...]]) -> list[StoredArray]:
    sizes = [[-(-n // f) for n, f in zip(shape[1:], level, strict=True)] for level in factors]
    return [StoredArray(map_ / str(n), (shape[0], *size)) for n, size in enumerate([list(shape[1:]), *sizes])]


def _ratios(factors: Sequence[tuple[int, ...]], number: int) -> tuple[int, ...]:
    """Between a level and the one before it."""
    before = factors[number - 2] if number > 1 else (1,) * len(factors[0])
    return tuple(a // b for a, b in zip(factors[number - 1], before, strict=True))


def _copied(shape: Sequence[int], by_planes: bool = False) -> tuple[int, ...]:
    """Pixels that are put together at a time: whole chunks."""
    chunks = chunks_of(shape, 1, by_planes)[1:]
    most = _COPIED[0] if len(chunks) == 2 or by_planes else _COPIED[1]
    return tuple(n * max(1, (1 if by_planes and axis == 0 else most) // n) for axis, n in enumerate(chunks))

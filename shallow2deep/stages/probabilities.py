"""Stage *probabilities*: the pool of probability maps and labels that the enhancer is trained on."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

from shallow2deep.blocks import Window
from shallow2deep.errors import SettingsError
from shallow2deep.features import compute_features
from shallow2deep.forests import Forest, predict_features
from shallow2deep.forests.looks import Look
from shallow2deep.inference.moments import Moments
from shallow2deep.inputs.source import Labelled, Source
from shallow2deep.io.atomic import room_for, sha256, sync, sync_folder
from shallow2deep.outputs import IGNORED
from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.runs.parallel import in_parallel
from shallow2deep.seeding import generator
from shallow2deep.settings import EnhancerTrainConfig, ProbabilitiesSettings
from shallow2deep.stages.forests import View, before_zoom, forest_path, random_window, views

_TRIES = 20
_CREATED = "created"  # the first piece of work


def probabilities_stage(config: EnhancerTrainConfig, source: Source, forests: Stage) -> Stage:
    settings = config.probabilities
    _check_size(settings, len(source.classes))
    deciding = {"seed": config.seed, **settings.deciding()}
    inputs = source.fingerprints | after(forests)
    return Stage("probabilities", deciding, inputs, partial(make_pool, config, source))


def make_pool(config: EnhancerTrainConfig, source: Source, job: Job) -> None:
    """Fills `pool.zarr` with patches of maps, labels and raw."""
    settings = config.probabilities
    done = DoneLog(job.folder / "unfinished" / "done.txt", partial(_checksum, job.folder / "pool.zarr"))
    pool = _create(job.folder, done, settings, len(source.classes))
    for part, count in (("training", settings.patches), ("validation", settings.validation_patches)):
        found = views(config, source.count, part)
        forests = {i: Forest.load(forest_path(job.run / "forests", i)) for v in found for i in v.forests}
        fill = partial(_fill_patch, config, source, job.folder, done, part, pool[part], found, forests)
        missing = [i for i in range(count) if f"{part} {i}" not in done]
        in_parallel(fill, missing, config.jobs, f"{part} maps", job)


def _fill_patch(
    config: EnhancerTrainConfig,
    source: Source,
    folder: Path,
    done: DoneLog,
    part: str,
    arrays: Any,
    found: list[View],
    forests: dict[int, Forest],
    index: int,
) -> None:
    """A random patch of a random image, by forests of one view; patches take turns in the views."""
    settings, view = config.probabilities, found[index % len(found)]
    rng = generator(config.seed, f"{part} patch", index)
    image, window = _choose(source.images(part, view.source), view, settings, index, rng)
    chosen = rng.choice(view.forests, settings.forests_per_patch, replace=False)
    size = sum(array.nbytes // array.shape[0] for _, array in arrays.arrays())
    with room_for(folder / "pool.zarr", size):
        own = [forests[i] for i in chosen]
        raw = _fill_maps(arrays, index, image, window, view, own, source, config, rng)
        _fill_targets(arrays, index, image, window, view.look, len(source.classes))
        arrays["raw"][index] = mirrored_to(raw, settings.patch)
        for chunk in _chunks(folder / "pool.zarr" / part, index):
            sync(chunk)
            sync_folder(chunk.parent)
    done.add(f"{part} {index}")


def _check_size(settings: ProbabilitiesSettings, n_classes: int) -> None:
    pixels = int(np.prod(settings.patch)) * (settings.patches + settings.validation_patches)
    gigabytes = pixels * ((settings.forests_per_patch + 1) * (n_classes - 1) + 1 + 2) / 1e9
    if gigabytes > settings.max_gigabytes:
        raise SettingsError(
            f"the pool of probabilities could take {gigabytes:.1f} GB but probabilities.max_gigabytes is "
            f"{settings.max_gigabytes}; take fewer or smaller patches, or raise it"
        )


def _create(folder: Path, done: DoneLog, settings: ProbabilitiesSettings, n_classes: int) -> Any:
    """The pool's arrays. Chunks that are not in the log are written again, so what is there may stay."""
    if _CREATED not in done:
        done.clear()
        with room_for(folder / "pool.zarr"):
            _create_arrays(folder, settings, n_classes)
        done.add(_CREATED)
    return zarr.open_group(folder / "pool.zarr", mode="r+")


def _create_arrays(folder: Path, settings: ProbabilitiesSettings, n_classes: int) -> None:
    pool = zarr.create_group(folder / "pool.zarr", overwrite=True)
    for part, count in (("training", settings.patches), ("validation", settings.validation_patches)):
        group = pool.create_group(part)

        def create(name: str, leading: tuple[int, ...], dtype: str, group: Any = group) -> None:
            ones = (1,) * len(leading)  # not compressed: read again and again while training
            shape, chunks = (*leading, *settings.patch), (*ones, *settings.patch)
            group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, compressors=None)

        create("maps", (count, settings.forests_per_patch, n_classes - 1), "uint8")
        create("classes", (count,), "uint8")
        create("boundaries", (count, n_classes - 1), "uint8")
        create("raw", (count,), "float16")


def _choose(
    images: list[Labelled], view: View, settings: ProbabilitiesSettings, index: int, rng: np.random.Generator
) -> tuple[Labelled, Window]:
    """A random patch; three of four contain foreground if a few tries find one."""
    area = np.array([np.prod(image.raw.spatial_shape, dtype=float) for image in images])
    size = before_zoom(settings.patch, view.look)
    for _ in range(_TRIES):
        number = int(rng.choice(len(images), p=area / area.sum()))
        window = random_window(images[number].raw.spatial_shape, size, rng)
        if index % 4 == 0 or np.any(images[number].classes(window) % IGNORED):  # neither 0 nor this
            break
    return images[number], window


def _fill_maps(
    part: Any,
    index: int,
    image: Labelled,
    window: Window,
    view: View,
    forests: Sequence[Forest],
    source: Source,
    config: EnhancerTrainConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """The maps of a patch by several forests; returns raw as they saw it, standardised."""
    shape, halo = image.raw.spatial_shape, before_zoom(source.spec.halo, view.look)
    outer = tuple(
        slice(max(s.start - h, 0), min(s.stop + h, n)) for s, h, n in zip(window, halo, shape, strict=True)
    )
    raw = source.seen(image, outer, view.look, rng, config.forests.exposure)
    starts = [round((s.start - o.start) * view.look.zoom) for s, o in zip(window, outer, strict=True)]
    patch = config.probabilities.patch
    inner = tuple(slice(a, min(a + p, n)) for a, p, n in zip(starts, patch, raw.shape, strict=True))
    features = np.ascontiguousarray(compute_features(raw, source.spec, config.engine, inner=inner))
    for n, forest in enumerate(forests):
        p = mirrored_to(predict_features(forest, features)[1:], patch)
        part["maps"][index, n] = np.round(p * 255).astype(np.uint8)
    return Moments.of(raw).standardised(raw[inner])


def _fill_targets(
    arrays: Any, index: int, image: Labelled, window: Window, look: Look, n_classes: int
) -> None:
    """The class of each pixel, and for each foreground class the boundaries of its own instances.

    Pixels that do not count are `IGNORED` in both, and so are boundaries beside them, which may be none.
    """
    patch = arrays["classes"].shape[1:]
    labels, classes = image.labels.read(window).astype(np.int64), image.classes(window)
    labels, classes = (mirrored_to(look.zoomed(values, 0), patch) for values in (labels, classes))
    arrays["classes"][index] = classes
    unknown = ndi.maximum_filter(classes == IGNORED, 3)
    for number in range(1, n_classes):
        own = np.where(classes == number, labels, 0)
        found = find_boundaries(own, mode="thick")
        arrays["boundaries"][index, number - 1] = np.where(unknown, IGNORED, found)


def mirrored_to(values: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    """`([K,] *spatial)` of the size of a patch: what is more is cut off, what is less is mirrored."""
    lead = values.ndim - len(patch)
    cut = values[(slice(None),) * lead + tuple(slice(n) for n in patch)]
    missing = [p - n for p, n in zip(patch, cut.shape[lead:], strict=True)]
    return np.pad(cut, [(0, 0)] * lead + [(0, n) for n in missing], mode="symmetric")


def _chunks(arrays: Path, index: int) -> list[Path]:
    """Those of a patch in all arrays; of chunks that are all zero there is no file."""
    places = (array / "c" / str(index) for array in sorted(arrays.iterdir()))
    return [place for place in places if place.exists()]


def _checksum(pool: Path, piece: str) -> str:
    """Of the chunks of a patch, or of what describes the arrays."""
    if piece == _CREATED:
        files = sorted(pool.rglob("zarr.json"))
    else:
        part, _, index = piece.partition(" ")
        files = _chunks(pool / part, int(index))
    listing = "".join(f"{file.relative_to(pool)} {sha256(file)}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()

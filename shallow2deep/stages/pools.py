"""Pools of training data of the target; stages *strokes_pool* and *labels_pool*, of the baselines."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import zarr

from shallow2deep.inputs.target import Plane, Target
from shallow2deep.io.atomic import room_for, sha256, sync
from shallow2deep.outputs import IGNORED
from shallow2deep.progress import safely
from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig

_CREATED = "zarr.json"  # the first piece of work
_CHUNK = {2: 256, 3: 64}  # side, pixels
Targets = Callable[[Plane, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From a plane and its raw to targets `(K, *spatial)` and their weight `(*spatial)`."""


def pool_settings(config: AdaptConfig, more: Mapping[str, Any]) -> dict[str, Any]:
    """What a pool depends on besides its inputs."""
    return {"patch": config.target_network.patch, **more}


def fill_pool(
    config: AdaptConfig, target: Target, targets: Targets, job: Job, with_strokes: bool = True
) -> None:
    """Writes what networks of the target are trained on: raw, targets, their weight and strokes."""
    patch = config.target_network.patch
    place = job.folder / "pool.zarr"
    done = DoneLog(job.folder / "unfinished" / "done.txt", lambda name: sha256(place / name))
    if _CREATED not in done:
        done.clear()
        with room_for(place):
            zarr.create_group(place, overwrite=True)
        done.add(_CREATED)
    pool, moments = zarr.open_group(place, mode="r+"), target.moments
    for plane in safely(target.planes, job.folder.name.replace("_", " "), job):
        name = str(plane.number)
        if name in done:
            continue
        raw = plane.raw.read()
        labels, weight = targets(plane, raw)
        shape = plane.raw.spatial_shape
        drawn = plane.strokes if with_strokes else np.zeros(shape, np.uint8)
        weight = np.where(drawn > 0, 0, weight)  # strokes are true, whatever the pseudo-labels say
        pixels = moments.standardised(raw).reshape(-1, *shape)
        layers = np.concatenate([pixels, labels, weight[None], drawn[None]]).astype(np.float32)
        layers = _padded(layers, patch)
        side = _CHUNK[len(shape)]
        chunks = (len(layers), *(min(n, side) for n in layers.shape[1:]))
        with room_for(place, layers.nbytes):
            pool.create_array(name, data=layers, chunks=chunks, compressors=None, overwrite=True)
            sync(place / name)
        done.add(name)


def _padded(layers: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    """At least as large as a patch; what is added weighs nothing."""
    missing = [max(p - n, 0) for p, n in zip(patch, layers.shape[1:], strict=True)]
    if not any(missing):
        return layers
    edges = [(0, n) for n in missing]
    raw = np.pad(layers[:-2], [(0, 0), *edges], mode="symmetric")
    return np.concatenate([raw, np.pad(layers[-2:], [(0, 0), *edges])])


def strokes_pool_stage(config: AdaptConfig, target: Target) -> Stage:
    """For the network that sees the strokes alone."""
    settings = pool_settings(config, {"classes": config.classes})
    return Stage("strokes_pool", settings, target.fingerprints, partial(fill_with_strokes, config, target))


def fill_with_strokes(config: AdaptConfig, target: Target, job: Job) -> None:
    def nothing(plane: Plane, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = plane.raw.spatial_shape
        return np.zeros((len(config.classes) - 1, *shape), np.float32), np.zeros(shape, np.float32)

    fill_pool(config, target, nothing, job)


def labels_pool_stage(config: AdaptConfig, target: Target) -> Stage:
    """For the supervised upper bound."""
    settings = pool_settings(config, {"classes": config.classes})
    inputs = target.fingerprints | target.label_fingerprints
    return Stage("labels_pool", settings, inputs, partial(fill_with_labels, config, target))


def fill_with_labels(config: AdaptConfig, target: Target, job: Job) -> None:
    def truth(plane: Plane, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        classes = plane.true_classes(len(config.classes) - 1)
        planes = [classes == k for k in range(1, len(config.classes))]
        return np.stack(planes).astype(np.float32), (classes != IGNORED).astype(np.float32)

    fill_pool(config, target, truth, job, with_strokes=False)

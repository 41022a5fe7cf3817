"""Stage *pseudo_labels*: the enhanced maps as labels for the segmentor, with the weight of each pixel."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np

from shallow2deep.evaluation.held_out import mean_accuracy, right_shares
from shallow2deep.inference.forest_maps import forest_map_on_disk
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.results import (
    ENHANCED,
    FOREST,
    SKIPPED,
    applied_enhancers,
    foreground_maps,
    map_path,
)
from shallow2deep.inputs.target import Plane, Target
from shallow2deep.io.atomic import write_json
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.devices import choose_device
from shallow2deep.outputs import foreground
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.runs.parallel import threads_each
from shallow2deep.settings import AdaptConfig
from shallow2deep.stages.pools import Targets, fill_pool, pool_settings
from shallow2deep.stages.target_forest import grown

_FLIPS = ((), (-1,), (-2,), (-2, -1))


def pseudo_labels_stage(config: AdaptConfig, target: Target, enhanced: Stage) -> Stage:
    """The enhanced maps, or the mean of several, as soft labels."""
    assert config.segmentor is not None
    more = {
        "seed": config.seed,
        "confidence": config.segmentor.confidence.deciding(),
        "target_forest": config.target_forest.deciding(),
        "enhanced": config.enhanced.deciding(),
    }
    inputs = target.fingerprints | after(enhanced)
    work = partial(make_pseudo_labels, config, target)
    return Stage("pseudo_labels", pool_settings(config, more), inputs, work)


def make_pseudo_labels(config: AdaptConfig, target: Target, job: Job) -> None:
    assert config.segmentor is not None
    alone = config.segmentor.confidence.use == "none"
    targets = equally_sure(maps_of(job, ENHANCED)) if alone else _consensus(config, target, job)
    fill_pool(config, target, targets, job)


def _consensus(config: AdaptConfig, target: Target, job: Job) -> Targets:
    """The mean of several forests' enhanced maps under flips, and how far they agree."""
    assert config.segmentor is not None
    confidence, device = config.segmentor.confidence, choose_device(config.enhanced.device)
    enhancer = applied_enhancers(config, target.enhancers, target.voxel_size, device, run=job.run)
    outputs, forest_maps = enhancer.outputs(config.classes), _consensus_maps(config, target, job)

    def targets(plane: Plane, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for p in forest_maps(plane, raw):
            for axes in _FLIPS if confidence.flips else _FLIPS[:1]:
                flipped = (np.ascontiguousarray(np.flip(values, axes)) for values in (p, raw))
                enhanced = enhancer.enhance(*flipped)
                found.append(np.flip(foreground(enhanced, outputs), axes))
        sure = (1 - 2 * np.std(found, axis=0).max(0)).astype(np.float32)
        if confidence.use == "mask":
            sure = (sure >= confidence.threshold).astype(np.float32)
        return np.asarray(np.mean(found, axis=0), np.float32), sure

    return targets


def _consensus_maps(
    config: AdaptConfig, target: Target, job: Job
) -> Callable[[Plane, np.ndarray], Iterator[np.ndarray]]:
    """From a plane and its raw to its maps `(C, *spatial)` by several forests of the same strokes.

    Maps that were made elsewhere are the only ones.
    """

    @lru_cache(maxsize=1)
    def own_maps(image: str) -> list[np.ndarray]:
        named = next(one for one in target.images if one.name == image)
        return named.split(read_map(map_path(job.run / FOREST, named))[0])

    if target.has_maps:
        return lambda plane, raw: iter([own_maps(plane.image.name)[plane.z]])
    assert config.segmentor is not None
    count = config.segmentor.confidence.forests if target.has_strokes else 1
    others = [grown(config, target, number) for number in range(1, count)]
    to_map = partial(forest_map_on_disk, engine=config.engine, threads=threads_each(config.jobs))
    to_map = partial(to_map, device=str(choose_device(config.enhanced.device)))
    last: dict[str, list[np.ndarray]] = {}

    def of_volume(image: Image) -> list[np.ndarray]:
        """By the other forests, of all of a volume; kept for its next plane."""
        if image.name not in last:
            last.clear()
            raw = image.whole.read()
            last[image.name] = [np.asarray(to_map(forest, raw)) for forest in others]
        return last[image.name]

    def maps(plane: Plane, raw: np.ndarray) -> Iterator[np.ndarray]:
        yield own_maps(plane.image.name)[plane.z]
        if plane.image.stacked and target.spec.ndim == 3:
            yield from (p[:, plane.z] for p in of_volume(plane.image))
        else:
            yield from (np.asarray(to_map(forest, raw)) for forest in others)

    return maps


def next_pseudo_labels_stage(
    name: str, before: Stage, segmentor: Stage, config: AdaptConfig, target: Target
) -> Stage:
    """The maps of a segmentor as the labels of the next round.

    Skipped if the segmentor meets the held-out strokes no better than the result before it.
    """
    inputs = target.fingerprints | after(before, segmentor)
    work = partial(make_next_pseudo_labels, config, target, before.name, segmentor.name)
    return Stage(name, pool_settings(config, {}), inputs, work)


def make_next_pseudo_labels(
    config: AdaptConfig, target: Target, before: str, segmentor: str, job: Job
) -> None:
    def accuracy(name: str) -> float:
        find = maps_of(job, name)
        shares = right_shares(map(find, target.planes), [p.held_out for p in target.planes], exclusive=False)
        return mean_accuracy(shares)

    skipped = (job.run / segmentor / SKIPPED).exists()
    if skipped or not accuracy(segmentor) > accuracy(before):
        reason = f"{segmentor} met held-out strokes no better, or there are none"
        write_json(job.folder / SKIPPED, {"reason": reason})
    else:
        fill_pool(config, target, equally_sure(maps_of(job, segmentor)), job)


def maps_of(job: Job, name: str) -> Callable[[Plane], np.ndarray]:
    """From a plane to a stage's maps of the foreground classes; one image's are in memory at a time."""
    last: dict[str, list[np.ndarray]] = {}

    def find(plane: Plane) -> np.ndarray:
        if plane.image.name not in last:
            last.clear()
            last[plane.image.name] = foreground_maps(job.run / name, plane.image)
        return last[plane.image.name][plane.z]

    return find


def equally_sure(maps: Callable[[Plane], np.ndarray]) -> Targets:
    """Maps as targets of the same weight everywhere."""
    return lambda plane, raw: (maps(plane), np.ones(maps(plane).shape[1:], np.float32))

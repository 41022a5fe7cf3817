"""Stage *enhanced*: the forest's probability maps, corrected by the enhancer."""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import numpy as np

from shallow2deep.inference.enhance import Enhancer
from shallow2deep.inference.target_statistics import companion_inputs, random_windows, with_statistics_of
from shallow2deep.inputs.models import given_enhancers
from shallow2deep.inputs.results import (
    ENHANCED,
    FOREST,
    applied_enhancers,
    map_path,
    own_companion,
    save_map,
)
from shallow2deep.inputs.target import Target
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.devices import choose_device
from shallow2deep.networks.model import save_model
from shallow2deep.progress import safely
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig


def enhanced_stage(config: AdaptConfig, target: Target, forest: Stage, kept: Sequence[Stage]) -> Stage:
    work = partial(enhance_maps, config, target)
    deciding = config.enhanced.deciding() | {"seed": config.seed}
    return Stage(ENHANCED, deciding, after(*kept, forest), work)


def enhance_maps(config: AdaptConfig, target: Target, job: Job) -> None:
    """The enhanced maps that are missing."""
    fit_companions(config, target, job)
    device = choose_device(config.enhanced.device)
    enhancers = applied_enhancers(config, target.enhancers, target.voxel_size, device, job, run=job.run)
    for image in safely(target.images, "enhanced maps", job):
        if not map_path(job.folder, image).exists():
            maps, _ = read_map(map_path(job.run / FOREST, image))
            raws = (part.read() if enhancers.need_raw else None for part in image.parts)
            pairs = zip(image.split(maps), raws, strict=True)
            parts = (enhancers.enhance(p, raw) for p, raw in pairs)
            outputs = enhancers.outputs(config.classes)
            save_map(job.folder, image, image.join(parts), outputs, config.classes[0])


def fit_companions(config: AdaptConfig, target: Target, job: Job) -> None:
    """Keeps companions that know the target's images in the stage's folder."""
    if not (config.enhanced.raw and config.enhanced.statistics):
        return
    device = choose_device(config.enhanced.device)
    applied = applied_enhancers(config, target.enhancers, target.voxel_size, device).each
    for given, opened, enhancer in zip(given_enhancers(config), target.enhancers, applied, strict=True):
        folder = own_companion(job.run, given)
        if opened.described_companion is None or (folder / "model.json").exists():
            continue
        learned, spec = opened.described_companion
        seen = safely(list(_seen(enhancer, config, target, job)), "companion", job)
        known = with_statistics_of(learned, seen, config.enhanced.statistics, device)
        folder.mkdir(exist_ok=True)
        save_model(folder, known, spec)


def _seen(enhancer: Enhancer, config: AdaptConfig, target: Target, job: Job) -> Iterator[np.ndarray]:
    """What a companion sees of some windows of the target; volumes by planes if it sees those."""
    pieces = [
        (image, n, z)
        for image in target.images
        for n, part in enumerate(image.parts)
        for z in (range(part.spatial_shape[0]) if len(part.spatial_shape) > enhancer.ndim else [None])
    ]

    @lru_cache(maxsize=1)
    def opened(number: int) -> tuple[np.ndarray, np.ndarray]:
        image, n, z = pieces[number]
        p, raw = image.split(read_map(map_path(job.run / FOREST, image))[0])[n], image.parts[n].read()
        return (p, raw) if z is None else (p[:, z], raw.take(z, axis=-3))

    shapes = [image.parts[n].spatial_shape[-enhancer.ndim :] for image, n, _ in pieces]
    for number, window in random_windows(shapes, config.seed, "companion"):
        p, raw = opened(number)
        beside = enhancer.beside(raw)
        assert beside is not None, "asked of one that has a companion"
        for n in range(1, len(p)):
            if n not in enhancer.kept:
                yield from companion_inputs(enhancer, p[n][None], beside, window)

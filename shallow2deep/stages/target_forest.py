"""Stage *target_forest*: the forest of the user's strokes, and its probability maps."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from shallow2deep.forests import Forest
from shallow2deep.inference.forest_maps import forest_map_on_disk
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.results import FOREST, map_path, save_map
from shallow2deep.inputs.target import Target
from shallow2deep.networks.devices import choose_device
from shallow2deep.outputs import of_forest
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.job import Job
from shallow2deep.runs.parallel import in_parallel, threads_each
from shallow2deep.seeding import integer_seed
from shallow2deep.settings import AdaptConfig
from shallow2deep.training.from_strokes import train_forest


def target_forest_stage(config: AdaptConfig, target: Target) -> Stage:
    settings = {
        "seed": config.seed,
        "classes": config.classes,
        "engine": config.engine,
        "features": target.spec.to_dict(),
        **config.target_forest.deciding(),
    }
    return Stage(FOREST, settings, target.fingerprints, partial(make_forest_maps, config, target))


def make_forest_maps(config: AdaptConfig, target: Target, job: Job) -> None:
    """Trains the forest, unless there is one, and predicts the images; or takes over maps made elsewhere."""
    if target.has_maps:
        _save_given_maps(job.folder, config, target)
        return
    forest, size = target.forest or grown(config, target), target.voxel_size
    if size is not None:  # the enhancer's stretch follows from it, also for other images
        forest = replace(forest, record={**forest.record, "voxel_size": list(size)})
    forest.save(job.folder / "forest.npz")
    device = str(choose_device(config.enhanced.device))
    missing = [image for image in target.images if not map_path(job.folder, image).exists()]
    jobs = config.jobs if device == "cpu" else 1  # a GPU is kept busy by one
    threads = threads_each(jobs, len(missing))
    watch = job if len(missing) == 1 else None  # several at a time count as images
    apply = partial(
        forest_map_on_disk, forest, device=device, engine=config.engine, threads=threads, watch=watch
    )

    def predict(image: Image) -> None:
        p = image.predict(apply, forest.spec.ndim)
        save_map(job.folder, image, p, of_forest(config.classes), config.classes[0])

    in_parallel(predict, missing, jobs, "forest maps", job)


def _save_given_maps(folder: Path, config: AdaptConfig, target: Target) -> None:
    for image, planes in target.by_image():
        maps = [plane.map.read() for plane in planes if plane.map is not None]
        p = image.join(np.stack([1 - p, p]) for p in maps)
        save_map(folder, image, p, of_forest(config.classes), config.classes[0])


def grown(config: AdaptConfig, target: Target, *number: int) -> Forest:
    """A forest of the strokes; with a number, another of the same strokes."""
    raws, strokes = _painted(target)
    return train_forest(
        raws,
        strokes,
        target.spec,
        seed=integer_seed(config.seed, "target forest", *number),
        classes=config.classes,
        n_jobs=config.jobs,
        engine=config.engine,
        **config.target_forest.model_dump(),
    )


def _painted(target: Target) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What has strokes, and them: images and planes, or whole volumes where features are 3D."""
    raws, strokes = [], []
    for image, planes in target.by_image():
        if image.stacked and target.spec.ndim == 3:
            if any(plane.strokes.any() for plane in planes):
                raws.append(image.whole.read())
                strokes.append(np.stack([plane.strokes for plane in planes]))
            continue
        for plane in planes:
            if plane.strokes.any():
                raws.append(plane.raw.read())
                strokes.append(plane.strokes)
    return raws, strokes

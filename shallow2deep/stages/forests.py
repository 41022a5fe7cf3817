"""Stage *forests*: many forests, each trained on its own small sample of the source."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.errors import InputError
from shallow2deep.features import compute_features
from shallow2deep.forests import Forest, fit_forest, predict_features
from shallow2deep.forests.looks import Look
from shallow2deep.forests.sampling import STAGED, STRATEGIES, Patch, plan_strategies
from shallow2deep.forests.simulation import log_uniform
from shallow2deep.inputs.source import Labelled, Source
from shallow2deep.io.atomic import atomic_path
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.job import Job
from shallow2deep.runs.parallel import in_parallel
from shallow2deep.seeding import generator, integer_seed
from shallow2deep.settings import EnhancerTrainConfig, ForestsSettings
from shallow2deep.training.from_strokes import stroke_features

_TRIES = 20


def forests_stage(config: EnhancerTrainConfig, source: Source) -> Stage:
    settings = {
        "seed": config.seed,
        "engine": config.engine,
        "classes": config.classes,
        "forests_per_patch": config.probabilities.forests_per_patch,
        **config.forests.deciding(),
        "features": source.spec.to_dict(),
    }
    plan_strategies(config.forests)  # refuses what cannot be planned before any work
    return Stage("forests", settings, source.fingerprints, partial(grow_forests, config, source))


def grow_forests(config: EnhancerTrainConfig, source: Source, job: Job) -> None:
    """Grows those that are missing, in rounds: a staged forest goes on from one of the round before."""
    settings = config.forests
    slots = plan_strategies(settings)
    both = [*views(config, source.count, "training"), *views(config, source.count, "validation")]
    view_of = {index: view for view in both for index in view.forests}
    (job.folder / "unfinished").mkdir(exist_ok=True)
    total = settings.count + settings.validation_count
    for first in range(0, total, settings.stage_size):
        last = min(first + settings.stage_size, total)
        missing = [i for i in range(first, last) if not forest_path(job.folder, i).exists()]
        in_parallel(
            lambda i: _grow(job.folder, i, view_of[i], slots[i % settings.stage_size], config, source),
            missing,
            config.jobs,
            f"forests {first + 1}-{last} of {total}",
            job,
        )


def forest_path(folder: Path, index: int) -> Path:
    return folder / f"forest_{index:04d}.npz"


@dataclass(frozen=True)
class View:
    """What a few forests have in common, those that are applied to the same patches.

    Attributes:
        source: number of the source that they know.
        look: how they see it.
        forests: their numbers.
    """

    source: int
    look: Look
    forests: tuple[int, ...]


def views(config: EnhancerTrainConfig, n_sources: int, part: str) -> list[View]:
    """Those of the forests for "training", or for "validation"; sources take turns."""
    settings = config.forests
    ranges = {
        "training": range(settings.count),
        "validation": range(settings.count, settings.count + settings.validation_count),
    }
    indices = ranges[part]
    count = max(1, len(indices) // config.probabilities.forests_per_patch)
    return [View(n % n_sources, _look(config, part, n), tuple(indices[n::count])) for n in range(count)]


def _look(config: EnhancerTrainConfig, part: str, number: int) -> Look:
    return Look.drawn(config.forests, generator(config.seed, f"{part} look", number))


def _grow(
    folder: Path, index: int, view: View, strategy: str, config: EnhancerTrainConfig, source: Source
) -> None:
    """Trains and saves forest `index`; its points too if a later staged forest goes on from them."""
    x, y = sample(folder, index, view, strategy, config, source)
    forest = fit_forest(
        x,
        y,
        source.spec,
        source.classes,
        **growth(index, config),
        record={
            "strategy": strategy,
            "source": view.source,
            "look": asdict(view.look),
            "samples": len(y),
            "seed": config.seed,
            "index": index,
        },
    )
    if strategy in STAGED:
        with atomic_path(_points_path(folder, index)) as path:
            np.savez(path, x=x, y=y)
    forest.save(forest_path(folder, index))


def growth(index: int, config: EnhancerTrainConfig) -> dict[str, Any]:
    """How forest `index` grows, as `fit_forest` takes it."""
    settings = config.forests
    rng = generator(config.seed, "forest trees", index)
    return {
        "n_trees": log_uniform(rng, *settings.trees),
        "max_depth": settings.depths[int(rng.integers(len(settings.depths)))],
        "min_samples_leaf": settings.min_samples_leaf,
        "max_samples": settings.max_samples,
        "seed": integer_seed(config.seed, "forest", index),
    }


def _points_path(folder: Path, index: int) -> Path:
    return folder / "unfinished" / f"points_{index:04d}.npz"


def sample(
    folder: Path, index: int, view: View, strategy: str, config: EnhancerTrainConfig, source: Source
) -> tuple[np.ndarray, np.ndarray]:
    """Features `(n, F)` and class numbers `(n,)` of the pixels that forest `index` is trained on."""
    settings = config.forests
    earlier = index - settings.stage_size
    staged = strategy in STAGED and earlier >= 0
    name = strategy if staged or strategy not in STAGED else "random_points"
    for attempt in range(_TRIES):
        rng = generator(config.seed, "forest sample", index, attempt)
        raws, strokes = [], []
        for image, window in _regions(source.images("training", view.source), name, view, settings, rng):
            raw = source.seen(image, window, view.look, rng)
            classes = view.look.zoomed(image.classes(window), 0)
            probabilities = None
            if staged:
                forest = Forest.load(forest_path(folder, earlier))
                probabilities = predict_features(forest, compute_features(raw, source.spec, config.engine))
            raws.append(raw)
            patch = Patch(classes, len(source.classes), probabilities)
            strokes.append(STRATEGIES[name](patch, settings, rng))
        present = np.unique(np.concatenate([s[s > 0] for s in strokes]))
        if len(present) > 1:
            break
    else:
        raise InputError(
            f"strategy {strategy}: {_TRIES} samples in a row had pixels of one class only; "
            "make forests.patch larger, or check the labels"
        )
    x, y = stroke_features(raws, strokes, source.spec, config.engine)
    if staged:
        with np.load(_points_path(folder, earlier), allow_pickle=False) as points:
            x, y = np.concatenate([points["x"], x]), np.concatenate([points["y"], y])
    return x, y


def _regions(
    images: list[Labelled], strategy: str, view: View, settings: ForestsSettings, rng: np.random.Generator
) -> Iterator[tuple[Labelled, Window]]:
    """Where a strategy works: strokes on views of a few images, all others on one patch."""
    strokes = strategy == "simulated_strokes"
    low, high = settings.strokes.images if strokes else (1, 1)
    count = min(int(rng.integers(low, high + 1)), len(images))
    for choice in rng.choice(len(images), count, replace=False):
        shape = images[choice].raw.spatial_shape
        size = (settings.strokes.view,) * len(shape) if strokes else settings.patch
        yield images[choice], random_window(shape, before_zoom(size, view.look), rng)


def before_zoom(size: tuple[int, ...], look: Look) -> tuple[int, ...]:
    """So many pixels become at least `size` in a look."""
    return tuple(math.ceil(n / look.zoom) for n in size)


def random_window(shape: tuple[int, ...], size: tuple[int, ...], rng: np.random.Generator) -> Window:
    """A window of `size`, or of the image's size where that is smaller, anywhere in an image."""
    clipped = [min(s, n) for s, n in zip(size, shape, strict=True)]
    starts = [int(rng.integers(0, n - s + 1)) for n, s in zip(shape, clipped, strict=True)]
    return tuple(slice(a, a + s) for a, s in zip(starts, clipped, strict=True))

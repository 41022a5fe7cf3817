"""Stage *target_forest*: the forest of the user's strokes, and its probability maps."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from shallow2deep.settings import AdaptConfig
from shallow2deep.forests import Forest, predict_probabilities, train_forest
from shallow2deep.io.volumes import Volume
from shallow2deep.seeding import integer_seed
from shallow2deep.runs.engine import Stage
from shallow2deep.inputs.images import Image, map_path, save_map
from shallow2deep.inputs.maps import as_probabilities
from shallow2deep.runs.parallel import in_parallel, threads_each
from shallow2deep.inputs.target import Target
from shallow2deep.networks.devices import choose_device


def target_forest_stage(config: AdaptConfig, target: Target) -> Stage:
    device = str(choose_device(config.enhanced.device))

    def work(folder: Path) -> None:
        if target.maps is not None:
            _save_given_maps(folder, config, target)
            return
        forest = target.forest or grown(config, target)
        forest.save(folder / "forest.npz")

        missing = [image for image in target.images if not map_path(folder, image).exists()]
        jobs = config.jobs if device == "cpu" else 1  # a GPU is kept busy by one
        threads = threads_each(jobs, len(missing))
        apply = partial(predict_probabilities, forest, device=device, engine=config.engine, threads=threads)

        def predict(image: Image) -> None:
            save_map(folder, image, image.predict(apply, forest.spec.ndim), config.classes)

        in_parallel(predict, missing, jobs, "forest maps")

    settings = {
        "seed": config.seed,
        "classes": config.classes,
        "engine": config.engine,
        "features": target.spec.to_dict(),
        **config.target_forest.model_dump(mode="json"),
    }
    return Stage("target_forest", settings, target.fingerprints, work)


def _save_given_maps(folder: Path, config: AdaptConfig, target: Target) -> None:
    assert target.maps is not None
    number = 0
    for image in target.images:
        parts = [as_probabilities(part) for part in target.maps[number : number + len(image.parts)]]
        save_map(folder, image, image.join(np.stack([1 - p, p]) for p in parts), config.classes)
        number += len(parts)


def grown(config: AdaptConfig, target: Target, *number: int) -> Forest:
    """A forest of the strokes; with a number, another of the same strokes."""
    drawn = [(raw.read(), strokes) for raw, strokes in _painted(target)]
    return train_forest(
        [raw for raw, _ in drawn],
        [strokes for _, strokes in drawn],
        target.spec,
        seed=integer_seed(config.seed, "target forest", *number),
        classes=config.classes,
        n_jobs=config.jobs,
        engine=config.engine,
        **config.target_forest.model_dump(),
    )


def _painted(target: Target) -> Iterator[tuple[Volume, np.ndarray]]:
    """What has strokes, and them: images and planes, or whole volumes where features are 3D."""
    number = 0
    for image in target.images:
        strokes = target.strokes[number : number + len(image.parts)]
        number += len(strokes)
        if image.stacked and target.spec.ndim == 3:
            if any(s.any() for s in strokes):
                yield image.whole, np.stack(strokes)
        else:
            yield from ((raw, s) for raw, s in zip(image.parts, strokes, strict=True) if s.any())

"""Stage *target_forest*: the forest of the user's strokes, and its probability maps."""

from functools import partial
from pathlib import Path

from shallow2deep.config import AdaptConfig
from shallow2deep.forests import Forest, predict_probabilities, train_forest
from shallow2deep.seeding import integer_seed
from shallow2deep.stages.engine import Stage
from shallow2deep.stages.images import Image, map_path, save_map
from shallow2deep.stages.parallel import in_parallel
from shallow2deep.stages.target import Target
from shallow2deep.training.devices import choose_device


def target_forest_stage(config: AdaptConfig, target: Target) -> Stage:
    device = str(choose_device(config.enhanced.device))

    def work(folder: Path) -> None:
        forest = grown(config, target)
        forest.save(folder / "forest.npz")

        def predict(image: Image) -> None:
            p = image.predict(partial(predict_probabilities, forest, device=device, engine=config.engine))
            save_map(folder, image, p, config.classes)

        missing = [image for image in target.images if not map_path(folder, image).exists()]
        jobs = config.jobs if device == "cpu" else 1  # a GPU is kept busy by one
        in_parallel(predict, missing, jobs, "forest maps")

    settings = {
        "seed": config.seed,
        "classes": config.classes,
        "engine": config.engine,
        "features": target.spec.to_dict(),
        **config.target_forest.model_dump(mode="json"),
    }
    return Stage("target_forest", settings, target.fingerprints, work)


def grown(config: AdaptConfig, target: Target, *number: int) -> Forest:
    """A forest of the strokes; with a number, another of the same strokes."""
    drawn = [(raw.read(), s) for raw, s in zip(target.raws, target.strokes, strict=True) if s.any()]
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

"""Stage *probabilities*: the pool of probability maps and labels that the enhancer is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from skimage.segmentation import find_boundaries

from shallow2deep.blocks import Window
from shallow2deep.settings import EnhancerTrainConfig, ProbabilitiesSettings
from shallow2deep.errors import SettingsError
from shallow2deep.features import compute_features
from shallow2deep.forests import Forest, predict_features
from shallow2deep.io.atomic import sync, sync_folder
from shallow2deep.seeding import generator
from shallow2deep.inputs.data import Labelled
from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.engine import Stage, after
from shallow2deep.stages.forests import forest_path, noise_level, random_window
from shallow2deep.runs.parallel import in_parallel
from shallow2deep.inputs.source import Source

_TRIES = 20


def probabilities_stage(config: EnhancerTrainConfig, source: Source, forests: Stage, run: Path) -> Stage:
    settings = config.probabilities
    if settings.forests_per_patch > min(config.forests.count, config.forests.validation_count):
        raise SettingsError(
            f"probabilities.forests_per_patch is {settings.forests_per_patch}, but there are "
            f"{config.forests.count} forests and {config.forests.validation_count} for validation; lower it"
        )
    _check_size(settings, len(source.classes))
    with_raw = config.source_net is not None  # only it reads raw

    def work(folder: Path) -> None:
        log = DoneLog(folder / "unfinished" / "done.txt")
        pool = _create(folder, log, settings, len(source.classes), with_raw)
        numbers = {
            "training": range(config.forests.count),
            "validation": range(config.forests.count, config.forests.count + config.forests.validation_count),
        }
        for part, images, count in (
            ("training", source.training, settings.patches),
            ("validation", source.validation, settings.validation_patches),
        ):
            loaded = [
                (Forest.load(forest_path(run / "forests", i)), noise_level(config, i)) for i in numbers[part]
            ]
            moments = [Moments.of(image.raw.read()) for image in images] if with_raw else []

            def fill(
                index: int,
                part: str = part,
                images: list[Labelled] = images,
                loaded: list[tuple[Forest, float]] = loaded,
                moments: list[Moments] = moments,
            ) -> None:
                rng = generator(config.seed, f"{part} patch", index)
                number, window = _choose(images, settings, index, rng)
                chosen = rng.choice(len(loaded), settings.forests_per_patch, replace=False)
                _fill(
                    pool[part],
                    index,
                    images[number],
                    window,
                    [loaded[i] for i in chosen],
                    source,
                    config.engine,
                    rng,
                )
                if with_raw:
                    pool[part]["raw"][index] = moments[number].standardised(images[number].raw.read(window))
                _flush(folder / "pool.zarr" / part, index)
                log.add(f"{part} {index}")

            missing = [i for i in range(count) if f"{part} {i}" not in log]
            in_parallel(fill, missing, config.jobs, f"{part} maps")

    plain = {
        "seed": config.seed,
        "with_raw": with_raw,
        **settings.model_dump(mode="json", exclude={"max_gigabytes"}),
    }
    return Stage("probabilities", plain, source.fingerprints | after(forests), work)


def _check_size(settings: ProbabilitiesSettings, n_classes: int) -> None:
    pixels = int(np.prod(settings.patch)) * (settings.patches + settings.validation_patches)
    gigabytes = pixels * (settings.forests_per_patch * (n_classes - 1) + 2 + 4) / 1e9
    if gigabytes > settings.max_gigabytes:
        raise SettingsError(
            f"the pool of probabilities could take {gigabytes:.1f} GB but probabilities.max_gigabytes is "
            f"{settings.max_gigabytes}; take fewer or smaller patches, or raise it"
        )


def _create(
    folder: Path, log: DoneLog, settings: ProbabilitiesSettings, n_classes: int, with_raw: bool
) -> Any:
    """The pool's arrays. Chunks that are not in the log are written again, so what is there may stay."""
    if log.is_empty():
        pool = zarr.create_group(folder / "pool.zarr", overwrite=True)
        for part, count in (("training", settings.patches), ("validation", settings.validation_patches)):
            group = pool.create_group(part)

            def create(name: str, leading: tuple[int, ...], dtype: str, group: Any = group) -> None:
                ones = (1,) * len(leading)  # not compressed: read again and again while training
                shape, chunks = (*leading, *settings.patch), (*ones, *settings.patch)
                group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, compressors=None)

            create("maps", (count, settings.forests_per_patch, n_classes - 1), "uint8")
            create("classes", (count,), "uint8")
            create("boundaries", (count,), "uint8")
            if with_raw:
                create("raw", (count,), "float32")
        log.add("created")
    return zarr.open_group(folder / "pool.zarr", mode="r+")


def _choose(
    images: list[Labelled], settings: ProbabilitiesSettings, index: int, rng: np.random.Generator
) -> tuple[int, Window]:
    """A random patch; three of four contain foreground if a few tries find one."""
    area = np.array([np.prod(image.raw.spatial_shape, dtype=float) for image in images])
    for _ in range(_TRIES):
        number = int(rng.choice(len(images), p=area / area.sum()))
        window = random_window(images[number].raw.spatial_shape, settings.patch, rng)
        if index % 4 == 0 or images[number].classes(window).any():
            break
    return number, window


def _fill(
    part: Any,
    index: int,
    image: Labelled,
    window: Window,
    forests: Sequence[tuple[Forest, float]],
    source: Source,
    engine: str,
    rng: np.random.Generator,
) -> None:
    """The maps of a patch by several forests, each at its level of noise; features once for each level."""
    shape, halo = image.raw.spatial_shape, source.spec.halo
    outer = tuple(
        slice(max(s.start - h, 0), min(s.stop + h, n)) for s, h, n in zip(window, halo, shape, strict=True)
    )
    local = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(window, outer, strict=True))
    for level in sorted({level for _, level in forests}):
        features = compute_features(image.noisy(outer, level, rng), source.spec, engine, inner=local)
        features = np.ascontiguousarray(features)
        for n, (forest, own) in enumerate(forests):
            if own == level:
                p = predict_features(forest, features)[1:]
                part["maps"][index, n] = np.round(p * 255).astype(np.uint8)
    labels = image.labels.read(window)
    part["classes"][index] = image.classes(window)
    part["boundaries"][index] = find_boundaries(labels.astype(np.int64), mode="thick")


def _flush(folder: Path, index: int) -> None:
    """Waits until the chunks of patch `index` are on the disk; those that are all zero have no file."""
    for array in folder.iterdir():
        if (chunk := array / "c" / str(index)).exists():
            sync(chunk)
            sync_folder(chunk.parent)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of an image."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, raw: np.ndarray) -> Self:
        return cls(float(raw.mean()), max(float(raw.std()), 1e-6))

    def standardised(self, raw: np.ndarray) -> np.ndarray:
        """A part of the image, shifted and scaled so that the whole has mean 0 and deviation 1; float32."""
        return ((raw - self.mean) / self.deviation).astype(np.float32)

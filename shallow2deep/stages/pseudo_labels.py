"""Pools of training data of the target: stage *pseudo_labels*, and those of the baselines."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import zarr

from shallow2deep.settings import AdaptConfig, SegmentorSettings
from shallow2deep.evaluation.held_out import mean_accuracy, right_shares
from shallow2deep.forests import predict_probabilities
from shallow2deep.io.atomic import sync, sync_folder, write_json
from shallow2deep.io.volumes import open_volume
from shallow2deep.progress import progress_bar
from shallow2deep.inputs.results import ENHANCED, FOREST, SKIPPED, foreground_maps, foreground_of
from shallow2deep.runs.done import DoneLog
from shallow2deep.runs.engine import Stage, after, check_stop
from shallow2deep.stages.enhanced import enhance
from shallow2deep.inputs.images import Image, map_path
from shallow2deep.inputs.models import load_enhancer
from shallow2deep.runs.parallel import threads_each
from shallow2deep.stages.probabilities import Moments
from shallow2deep.inputs.target import Target
from shallow2deep.stages.target_forest import grown
from shallow2deep.networks.devices import choose_device

_FLIPS = ((), (-1,), (-2,), (-2, -1))

Targets = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""From the number of an image to targets `(K, y, x)` and their weight `(y, x)`."""


def pseudo_labels_stage(config: AdaptConfig, target: Target, enhanced: Stage, run: Path) -> Stage:
    """The enhanced maps, or the mean of several, as soft labels, with the weight of each pixel."""
    assert config.segmentor is not None
    settings, device = config.segmentor, choose_device(config.enhanced.device)
    confidence = settings.confidence

    def targets() -> Targets:
        if confidence.use == "none":
            return _equally_sure(_maps_of(run, ENHANCED, target, len(config.classes)))
        network, _ = load_enhancer(run / ENHANCED, target.trust)
        forest_maps = _consensus_maps(config, target, run, str(device))

        def consensus(number: int) -> tuple[np.ndarray, np.ndarray]:
            found = []
            for p in forest_maps(number):
                for axes in _FLIPS if confidence.flips else _FLIPS[:1]:
                    turned = np.ascontiguousarray(np.flip(p, axes))
                    enhanced_map = enhance(network, turned, config.enhanced, device)
                    found.append(np.flip(foreground_of(enhanced_map, ENHANCED, len(config.classes)), axes))
            sure = (1 - 2 * np.std(found, axis=0).max(0)).astype(np.float32)
            if confidence.use == "mask":
                sure = (sure >= confidence.threshold).astype(np.float32)
            return np.asarray(np.mean(found, axis=0), np.float32), sure

        return consensus

    plain = {
        "seed": config.seed,
        "confidence": confidence.model_dump(mode="json"),
        "target_forest": config.target_forest.model_dump(mode="json"),
        "enhanced": config.enhanced.model_dump(mode="json", exclude={"device"}),
    }
    return _pool_stage("pseudo_labels", target, settings, plain, after(enhanced), targets)


def _consensus_maps(
    config: AdaptConfig, target: Target, run: Path, device: str
) -> Callable[[int], Iterator[np.ndarray]]:
    """From the number of a part of the images to its maps `(C, y, x)` by several forests of the same strokes.

    Maps that were made elsewhere are the only ones.
    """
    images = [(image, z) for image in target.images for z in range(len(image.parts))]

    def own(image: Image, z: int) -> np.ndarray:
        return open_volume(map_path(run / FOREST, image)).planes()[z].read()

    if target.maps is not None:
        return lambda number: iter([own(*images[number])])
    assert config.segmentor is not None
    count = config.segmentor.confidence.forests if any(s.any() for s in target.strokes) else 1
    others = [grown(config, target, number) for number in range(1, count)]
    last: dict[str, list[np.ndarray]] = {}
    threads = threads_each(config.jobs)
    predict = partial(predict_probabilities, device=device, engine=config.engine, threads=threads)

    def of_volume(image: Image) -> list[np.ndarray]:
        """By the other forests, of all of a volume; kept for its next plane."""
        if image.name not in last:
            last.clear()
            raw = image.whole.read()
            last[image.name] = [predict(f, raw) for f in others]
        return last[image.name]

    def maps(number: int) -> Iterator[np.ndarray]:
        image, z = images[number]
        yield own(image, z)
        if image.stacked and target.spec.ndim == 3:
            yield from (p[:, z] for p in of_volume(image))
        else:
            raw = image.parts[z].read()
            yield from (predict(f, raw) for f in others)

    return maps


def next_pseudo_labels_stage(
    name: str, before: Stage, segmentor: Stage, config: AdaptConfig, target: Target, run: Path
) -> Stage:
    """The maps of a segmentor as the labels of the next round.

    Skipped if the segmentor meets the held-out strokes no better than the result before it.
    """
    assert config.segmentor is not None
    n_classes = len(config.classes)

    def targets() -> Targets:
        return _equally_sure(_maps_of(run, segmentor.name, target, n_classes))

    def accuracy(stage: Stage) -> float:
        maps = map(_maps_of(run, stage.name, target, n_classes), range(len(target.held_out)))
        return mean_accuracy(right_shares(maps, target.held_out, exclusive=False))

    inputs = {"held-out strokes": target.held_fingerprint, **after(before, segmentor)}
    pool = _pool_stage(name, target, config.segmentor, {}, inputs, targets)

    def work(folder: Path) -> None:
        skipped = (run / segmentor.name / SKIPPED).exists()
        if skipped or not accuracy(segmentor) > accuracy(before):
            reason = f"{segmentor.name} met held-out strokes no better, or there are none"
            write_json(folder / SKIPPED, {"reason": reason})
        else:
            pool.work(folder)

    return replace(pool, work=work)


def strokes_pool_stage(config: AdaptConfig, target: Target) -> Stage:
    """For the network that sees the strokes alone."""
    n_outputs = len(config.classes) - 1

    def targets() -> Targets:
        def nothing(number: int) -> tuple[np.ndarray, np.ndarray]:
            shape = target.raws[number].spatial_shape
            return np.zeros((n_outputs, *shape), np.float32), np.zeros(shape, np.float32)

        return nothing

    settings = config.segmentor or SegmentorSettings()
    return _pool_stage("strokes_pool", target, settings, {"classes": config.classes}, {}, targets)


def labels_pool_stage(config: AdaptConfig, target: Target) -> Stage:
    """For the supervised upper bound."""
    n_classes = len(config.classes)

    def targets() -> Targets:
        def truth(number: int) -> tuple[np.ndarray, np.ndarray]:
            labels = target.labels[number].read()
            classes = labels > 0 if n_classes == 2 else labels
            planes = [classes == k for k in range(1, n_classes)]
            return np.stack(planes).astype(np.float32), np.ones(labels.shape, np.float32)

        return truth

    fingerprints = {f"labels {n}": volume.fingerprint() for n, volume in enumerate(target.labels)}
    settings = config.segmentor or SegmentorSettings()
    plain = {"classes": config.classes}
    return _pool_stage("labels_pool", target, settings, plain, fingerprints, targets, strokes=False)


def moments_of(target: Target) -> Moments:
    """Mean and deviation of all raw together."""
    count, total, squares = 0, 0.0, 0.0
    for raw in target.raws:
        values = raw.read().astype(np.float64)
        count += values.size
        total += values.sum()
        squares += (values * values).sum()
    mean = total / count
    return Moments(mean, max(float(np.sqrt(max(squares / count - mean * mean, 0))), 1e-6))


def _pool_stage(
    name: str,
    target: Target,
    settings: SegmentorSettings,
    plain: dict,
    inputs: dict[str, str],
    make_targets: Callable[[], Targets],
    strokes: bool = True,
) -> Stage:
    patch = settings.patch

    def work(folder: Path) -> None:
        log = DoneLog(folder / "unfinished" / "done.txt")
        if log.is_empty():
            zarr.create_group(folder / "pool.zarr", overwrite=True)
            log.add("created")
        pool = zarr.open_group(folder / "pool.zarr", mode="r+")
        moments, targets = moments_of(target), make_targets()
        for number, raw in enumerate(progress_bar(target.raws, desc=name.replace("_", " "))):
            if str(number) in log:
                continue
            check_stop()
            labels, weight = targets(number)
            drawn = target.strokes[number] if strokes else np.zeros(raw.spatial_shape, np.uint8)
            weight = np.where(drawn > 0, 0, weight)  # strokes are true, whatever the pseudo-labels say
            pixels = moments.standardised(raw.read()).reshape(-1, *raw.spatial_shape)
            layers = np.concatenate([pixels, labels, weight[None], drawn[None]]).astype(np.float32)
            layers = _padded(layers, patch)
            chunks = (len(layers), *(min(n, 256) for n in layers.shape[1:]))
            pool.create_array(str(number), data=layers, chunks=chunks, compressors=None, overwrite=True)
            for path in (folder / "pool.zarr" / str(number)).rglob("*"):
                if path.is_file():
                    sync(path)
                else:
                    sync_folder(path)
            log.add(str(number))

    plain = {"patch": patch, **plain}
    return Stage(name, plain, target.fingerprints | inputs, work)


def _padded(layers: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    """At least as large as a patch; what is added weighs nothing."""
    missing = [max(p - n, 0) for p, n in zip(patch, layers.shape[1:], strict=True)]
    if not any(missing):
        return layers
    edges = [(0, n) for n in missing]
    raw = np.pad(layers[:-2], [(0, 0), *edges], mode="symmetric")
    return np.concatenate([raw, np.pad(layers[-2:], [(0, 0), *edges])])


def _maps_of(run: Path, name: str, target: Target, n_classes: int) -> Callable[[int], np.ndarray]:
    """From the number of a part of the images to a stage's maps; one image's are in memory at a time."""
    parts = [(n, z) for n, image in enumerate(target.images) for z in range(len(image.parts))]

    @lru_cache(maxsize=1)
    def of_image(n: int) -> list[np.ndarray]:
        return foreground_maps(run, name, target.images[n], n_classes)

    return lambda number: of_image(parts[number][0])[parts[number][1]]


def _equally_sure(maps: Callable[[int], np.ndarray]) -> Targets:
    return lambda number: (maps(number), np.ones(maps(number).shape[1:], np.float32))

"""Stage *prediction*: judges the candidates by held-out strokes and takes over the maps of the best."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from matplotlib import colormaps
from scipy import ndimage as ndi
from skimage.feature import peak_local_max

from shallow2deep.settings import AdaptConfig
from shallow2deep.evaluation.held_out import Score, disagreement, recommend, right_shares, scores_of
from shallow2deep.evaluation.metrics import pooled_score
from shallow2deep.io.atomic import atomic_path, write_json
from shallow2deep.progress import progress_bar
from shallow2deep.seeding import generator
from shallow2deep.inputs.results import (
    ENHANCED,
    FOREST,
    SOURCE_NET,
    SUPERVISED,
    foreground_maps,
    foreground_of,
    made,
    predictor,
)
from shallow2deep.runs.engine import Stage, after, check_stop
from shallow2deep.inputs.images import Image, map_path
from shallow2deep.inputs.target import Target
from shallow2deep.networks.devices import choose_device

PREDICTION, CHOICE, PLACES = "prediction", "choice.json", "where_to_paint.csv"
_JUDGING = 4  # version of how results are judged; raised with every change
_FAR = 0.05  # of held-out pixels
_PLACES = 20
_VIEW = 512  # pixels: side of the part of an image on which consistency is measured
_DEPTH = 16  # planes, of volumes
_VIEWS = 3
_NOISE = 0.1  # deviations of raw


def prediction_stage(config: AdaptConfig, target: Target, candidates: Sequence[Stage], run: Path) -> Stage:
    n_classes = len(config.classes)

    def work(folder: Path) -> None:
        names = made(run, [stage.name for stage in candidates])
        shares: dict[str, dict[int, np.ndarray]] = {name: {} for name in names}
        dense: dict[str, list[np.ndarray]] = {name: [] for name in names}
        places: list[_Place] = []
        disagreements: list[tuple[float, str, int]] = []
        number = 0
        for image in progress_bar(target.images, desc="judging"):
            check_stop()
            maps = {name: foreground_maps(run, name, image, n_classes) for name in names}
            n = len(image.parts)
            for name in names:
                found = right_shares(maps[name], target.held_out[number : number + n], name == FOREST)
                for k, values in found.items():
                    shares[name][k] = np.concatenate([shares[name].get(k, []), values])
                if target.labels:
                    dense[name] += maps[name]
            worst: tuple[float, int, np.ndarray] | None = None
            for z in range(n):
                differing = disagreement([maps[name][z] for name in names if name != SUPERVISED])
                places += _places(
                    image, z, differing, target.strokes[number + z] + target.held_out[number + z]
                )
                if worst is None or differing.mean() > worst[0]:
                    worst = float(differing.mean()), z, differing
            assert worst is not None, "an image without parts"
            _save_picture(disagreement_path(folder, image), worst[2])
            disagreements.append((worst[0], image.name, worst[1]))
            number += n
        consistency = {name: _consistency(run, name, config, target) for name in names}
        counts = {k: len(values) for k, values in shares[FOREST].items()}
        judged = [name for name in names if name != SUPERVISED]  # it has seen what users do not have
        scores = scores_of(shares, FOREST, config.seed, consistency)
        judged_scores = {name: scores[name] for name in judged}
        chosen, reason = recommend(judged_scores, counts, n_classes, FOREST, trusted(judged_scores))
        for image in target.images:
            with atomic_path(map_path(folder, image)) as path:
                shutil.copyfile(map_path(run / chosen, image), path)
        _save_places(folder / PLACES, places)
        choice: dict[str, Any] = {
            "recommended": chosen,
            "reason": reason,
            "held_out_strokes": counts,
            "held_out_pixels": int(sum(np.count_nonzero(s) for s in target.held_out)),
            "used_pixels": int(sum(np.count_nonzero(s) for s in target.strokes)),
            "scores": {name: _without_nan(asdict(score)) for name, score in scores.items()},
            "most_disagreement": dict(zip(("mean", "image", "z"), max(disagreements), strict=True)),
        }
        if target.labels:
            truths = [volume.read() for volume in target.labels]
            choice["dice_on_labels"] = {name: dice_of(maps, truths) for name, maps in dense.items()}
        write_json(folder / CHOICE, choice)

    inputs = target.fingerprints | {"held-out strokes": target.held_fingerprint} | after(*candidates)
    labels = {f"labels {n}": volume.fingerprint() for n, volume in enumerate(target.labels)}
    return Stage(PREDICTION, {"seed": config.seed, "judging": _JUDGING}, inputs | labels, work)


def trusted(scores: Mapping[str, Score]) -> list[str]:
    """What is expected to be better than the forest unless strokes say otherwise, best first.

    By docs/results.md: where the source's network meets held-out strokes about as well as the forest, it was
    best most often; but it has seen nothing of the target, and where it fails it fails altogether.
    """
    source_net = [SOURCE_NET] if SOURCE_NET in scores and scores[SOURCE_NET].gain > -_FAR else []
    segmentors = sorted((n for n in scores if n.startswith("segmentor")), key=lambda n: -scores[n].accuracy)
    return [name for name in (*source_net, *segmentors, ENHANCED) if name in scores]


def disagreement_path(folder: Path, image: Image) -> Path:
    """Where the picture of the candidates' disagreement in an image is; of a volume, in its worst plane."""
    return folder / f"disagreement_{image.name}.png"


def dice_of(maps: list[np.ndarray], labels: list[np.ndarray]) -> float | None:
    """Mean of the foreground classes' Dice; None if a class does not occur."""
    found = []
    for k in range(len(maps[0])):
        truths = [image > 0 if len(maps[0]) == 1 else image == k + 1 for image in labels]
        found.append(pooled_score([p[k] for p in maps], truths)["dice"])
    mean = float(np.mean(found))
    return None if mean != mean else round(mean, 6)


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {name: None if value != value else round(value, 6) for name, value in values.items()}


def _consistency(run: Path, name: str, config: AdaptConfig, target: Target) -> float:
    """Overlap of the maps of a few views with those of the same views, flipped and with noise.

    2 sum(min(p, q)) / (sum(p) + sum(q)) over views and foreground classes.
    """
    if target.maps is not None and name in (FOREST, ENHANCED):
        return float("nan")  # there is no forest that could see the changed image
    how = predictor(run, name, config, choose_device(config.enhanced.device), target.trust)
    whole = how.ndim == 3
    raws = [image.whole for image in target.images] if whole else target.raws
    shared, total = 0.0, 0.0
    step = max(1, len(raws) // _VIEWS)
    for number in range(0, len(raws), step)[:_VIEWS]:
        raw = raws[number].read().astype(np.float32)
        view = raw[_middle(raw.shape, (_DEPTH, _VIEW, _VIEW)[-how.ndim :])]
        noise = generator(config.seed, "consistency", number).standard_normal(view.shape, np.float32)
        other = np.ascontiguousarray(np.flip(view + _NOISE * raw.std() * noise, (-2, -1)))
        p = foreground_of(how.apply(view), name, len(config.classes))
        q = np.flip(foreground_of(how.apply(other), name, len(config.classes)), (-2, -1))
        shared += 2 * float(np.minimum(p, q).sum())
        total += float(p.sum() + q.sum())
    return shared / total if total else 1.0


def _middle(shape: tuple[int, ...], sides: tuple[int, ...]) -> tuple[slice, ...]:
    """The middle of the last axes, of at most `sides` pixels; all of the axes before."""
    spatial = shape[len(shape) - len(sides) :]
    starts = [max(0, (n - side) // 2) for n, side in zip(spatial, sides, strict=True)]
    window = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return (*[slice(None)] * (len(shape) - len(sides)), *window)


@dataclass(frozen=True)
class _Place:
    """Where candidates disagree most."""

    image: str
    z: int
    y: int
    x: int
    disagreement: float


def _places(image: Image, z: int, differing: np.ndarray, painted: np.ndarray) -> list[_Place]:
    smooth = ndi.gaussian_filter(differing, 8)
    smooth[ndi.binary_dilation(painted > 0, iterations=8)] = 0
    peaks = peak_local_max(smooth, min_distance=24, num_peaks=_PLACES, exclude_border=False)
    return [_Place(image.name, z, int(y), int(x), round(float(smooth[y, x]), 4)) for y, x in peaks]


def _save_places(path: Path, places: list[_Place]) -> None:
    best = sorted(places, key=lambda p: (-p.disagreement, p.image, p.z, p.y, p.x))[:_PLACES]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "z", "y", "x", "disagreement"])
        writer.writerows([p.image, p.z, p.y, p.x, p.disagreement] for p in best)


def _save_picture(path: Path, differing: np.ndarray) -> None:
    colours = (colormaps["magma"](differing * 2)[..., :3] * 255).astype(np.uint8)
    with atomic_path(path) as temporary:
        iio.imwrite(temporary, colours, extension=".png")

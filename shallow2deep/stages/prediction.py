"""Stage *prediction*: judges the candidates by held-out strokes and takes over the maps of the best."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from matplotlib import colormaps
from scipy import ndimage as ndi
from skimage.feature import peak_local_max

from shallow2deep.evaluation.consistency import Consistency, changed_view
from shallow2deep.evaluation.held_out import (
    Score,
    count_strokes,
    disagreement,
    recommend,
    right_shares,
    scores_of,
)
from shallow2deep.evaluation.metrics import DiceCounts
from shallow2deep.evaluation.thresholds import best_threshold, shares_above
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.results import (
    ENHANCED,
    FOREST,
    SUPERVISED,
    image_predictor,
    made,
    map_path,
)
from shallow2deep.inputs.target import Plane, Target
from shallow2deep.io.atomic import atomic_path, write_bytes, write_json
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.devices import choose_device
from shallow2deep.outputs import foreground, is_exclusive
from shallow2deep.progress import safely
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.seeding import generator
from shallow2deep.settings import AdaptConfig

PREDICTION, CHOICE, PLACES = "prediction", "choice.json", "where_to_paint.csv"
_JUDGING = 8  # version of how results are judged; raised with every change
COLUMNS = ("image", "z", "y", "x", "disagreement")  # of the list of places
_PLACES = 20
_CLEAR = 8  # pixels between a place to paint and outlines, strokes, or the border of the image
_LESS = 0.25  # so much disagreement counts at outlines: strokes there are hard to paint, and teach little
_VIEWS = 3  # on which consistency is measured


def prediction_stage(config: AdaptConfig, target: Target, candidates: Sequence[Stage]) -> Stage:
    inputs = target.fingerprints | target.label_fingerprints | after(*candidates)
    work = partial(judge, config, target, [stage.name for stage in candidates])
    return Stage(PREDICTION, {"seed": config.seed, "judging": _JUDGING}, inputs, work)


def judge(config: AdaptConfig, target: Target, candidates: Sequence[str], job: Job) -> None:
    """Scores the candidates, and takes over the maps of the one that is recommended."""
    names = made(job.run, candidates)
    found = _Findings(names)
    for image, planes in safely(list(target.by_image()), "judging", job):
        _judge_image(found, image, planes, job)
    consistency = _consistency(names, config, target, job)
    counts = {k: len(values) for k, values in found.shares[FOREST].items()}
    scores = scores_of(found.shares, FOREST, config.seed, consistency)
    judged = {
        name: scores[name] for name in names if name != SUPERVISED
    }  # it has seen what users do not have
    strokes = count_strokes([p.strokes + p.held_out for p in target.planes], len(config.classes))
    painted = ", ".join(f"{n} of {name}" for n, name in zip(strokes, config.classes, strict=True))
    chosen, reason = recommend(judged, counts, len(config.classes), FOREST, trusted(judged), painted)
    for image in target.images:
        with atomic_path(map_path(job.folder, image)) as path:
            shutil.copyfile(map_path(job.run / chosen, image), path)
    _save_places(job.folder / PLACES, found.places)
    choice: dict[str, Any] = {
        "recommended": chosen,
        "reason": reason,
        "strokes": dict(zip(config.classes, strokes, strict=True)),
        "held_out_strokes": counts,
        "held_out_pixels": sum(int(np.count_nonzero(plane.held_out)) for plane in target.planes),
        "used_pixels": sum(int(np.count_nonzero(plane.strokes)) for plane in target.planes),
        "thresholds": {name: found.best_thresholds(name, config.classes) for name in names},
        "scores": {name: _without_nan(asdict(score)) for name, score in scores.items()},
        "most_disagreement": dict(zip(("mean", "image", "z"), max(found.disagreements), strict=True)),
        "planes": [
            {"image": p.image.name, "z": p.z, "differing": spread, "dice": _known(dice.get(chosen))}
            for p, spread, dice in zip(target.planes, found.spreads, found.plane_dice, strict=True)
        ],
    }
    if target.has_labels:
        choice["dice_on_labels"] = {name: _mean_dice(of_classes) for name, of_classes in found.dice.items()}
    write_json(job.folder / CHOICE, choice)


@dataclass
class _Findings:
    """What is found image by image.

    Attributes:
        shares: of each candidate and class, the share of right pixels of each held-out stroke.
        above: of each candidate and foreground class, `shares_above` of each image.
        dice: of each candidate, for each foreground class, over all dense labels.
        spreads: of each plane, how far the candidates' maps differ.
        plane_dice: of each plane and candidate, if there are dense labels.
        disagreements: of each image, of the plane where candidates differ most: how far, its name, z.
    """

    names: Sequence[str]
    shares: dict[str, dict[int, np.ndarray]] = field(init=False)
    above: dict[str, dict[int, list[tuple[np.ndarray, np.ndarray]]]] = field(init=False)
    dice: dict[str, list[DiceCounts]] = field(init=False)
    spreads: list[float] = field(default_factory=list)
    plane_dice: list[dict[str, float]] = field(default_factory=list)
    places: "list[_Place]" = field(default_factory=list)
    disagreements: list[tuple[float, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shares = {name: {} for name in self.names}
        self.above = {name: {} for name in self.names}
        self.dice = {name: [] for name in self.names}

    def best_thresholds(self, name: str, classes: Sequence[str]) -> dict[str, float | None]:
        """Of a candidate, for each foreground class; None where there are no strokes to choose by."""
        return {
            classes[k - 1]: best_threshold(*map(np.concatenate, zip(*parts, strict=True)))
            for k, parts in self.above[name].items()
        }


def _judge_image(found: _Findings, image: Image, planes: Sequence[Plane], job: Job) -> None:
    maps: dict[str, list[np.ndarray]] = {}
    for name in found.names:
        whole, outputs = read_map(map_path(job.run / name, image))
        maps[name] = [foreground(part, outputs) for part in image.split(whole)]
        held = [plane.held_out for plane in planes]
        for k in range(len(maps[name][0])):
            one = [part[k] for part in maps[name]]
            found.above[name].setdefault(k + 2, []).append(shares_above(one, held, k + 2))
        shares = right_shares(maps[name], held, is_exclusive(outputs))
        for k, values in shares.items():
            found.shares[name][k] = np.concatenate([found.shares[name].get(k, []), values])
    worst: tuple[float, int, np.ndarray] | None = None
    for plane in planes:
        at = {name: parts[plane.z] for name, parts in maps.items()}
        compared = [p for name, p in at.items() if name != SUPERVISED]
        differing = disagreement(compared)
        found.places += _places(plane, compared, differing)
        found.spreads.append(round(float(np.std(list(at.values()), axis=0).mean()), 6))
        found.plane_dice.append(_count_dice(found, at, plane))
        if worst is None or differing.mean() > worst[0]:
            worst = float(differing.mean()), plane.z, differing
    assert worst is not None, "an image without parts"
    _save_picture(disagreement_path(job.folder, image), worst[2])
    found.disagreements.append((worst[0], image.name, worst[1]))


def _count_dice(found: _Findings, maps: Mapping[str, np.ndarray], plane: Plane) -> dict[str, float]:
    """Adds a plane's pixels to each candidate's counts, and gives the plane's own Dice, mean over classes."""
    if plane.labels is None:
        return {}
    labels, own = plane.labels.read(), {}
    for name, p in maps.items():
        truths = [labels > 0 if len(p) == 1 else labels == k + 1 for k in range(len(p))]
        here = [DiceCounts() for _ in p]
        found.dice[name] = found.dice[name] or [DiceCounts() for _ in p]
        for counts in (here, found.dice[name]):
            for one, values, truth in zip(counts, p, truths, strict=True):
                one.add(values, truth)
        own[name] = float(np.mean([one.dice for one in here]))
    return own


def _mean_dice(of_classes: Sequence[DiceCounts]) -> float | None:
    """None if a class does not occur."""
    return _known(float(np.mean([counts.dice for counts in of_classes])))


def _known(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 6)


def trusted(scores: Mapping[str, Score]) -> list[str]:
    """What is expected to be better than the forest unless strokes say otherwise, best first.

    By docs/results.md. The source's own network is not: where it fails it fails altogether.
    """
    segmentors = sorted((n for n in scores if n.startswith("segmentor")), key=lambda n: -scores[n].accuracy)
    return [name for name in (*segmentors, ENHANCED) if name in scores]


def disagreement_path(folder: Path, image: Image) -> Path:
    """Where the picture of the candidates' disagreement in an image is; of a volume, in its worst plane."""
    return folder / f"disagreement_{image.name}.png"


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {name: _known(value) for name, value in values.items()}


def _consistency(names: Sequence[str], config: AdaptConfig, target: Target, job: Job) -> dict[str, float]:
    """Of each candidate, on a few views; each view is read once."""
    device = choose_device(config.enhanced.device)
    # maps made elsewhere: there is no forest that could see the changed image
    able = [name for name in names if not (target.has_maps and name in (FOREST, ENHANCED))]
    how = {name: image_predictor(job.run, name, config, device, target.enhancer) for name in able}
    measured = {name: Consistency() for name in able}
    for ndim in sorted({one.ndim for one in how.values()}):
        raws = [image.whole for image in target.images] if ndim == 3 else [p.raw for p in target.planes]
        for number in range(0, len(raws), max(1, len(raws) // _VIEWS))[:_VIEWS]:
            job.check()
            rng = generator(config.seed, "consistency", number)
            view, other = changed_view(raws[number].read(), ndim, rng)
            for name, one in how.items():
                if one.ndim == ndim:
                    measured[name].add(one.foreground, view, other)
    return {name: measured[name].value if name in able else float("nan") for name in names}


@dataclass(frozen=True)
class _Place:
    """Where candidates disagree most."""

    image: str
    z: int
    y: int
    x: int
    disagreement: float


def _places(plane: Plane, maps: Sequence[np.ndarray], differing: np.ndarray) -> list[_Place]:
    """By the maps of all results, `(C - 1, y, x)`, and how far they differ, `(y, x)`."""
    painted = plane.strokes + plane.held_out
    agreed, found = ((end(maps, axis=0) > 0.5).any(0) for end in (np.min, np.max))
    objects = ndi.binary_propagation(
        agreed, mask=found
    )  # at least in part found by all: their outlines differ
    smooth = ndi.gaussian_filter(differing, 4)
    smooth[ndi.binary_dilation(objects, iterations=_CLEAR)] *= _LESS
    smooth[ndi.binary_dilation(painted > 0, iterations=_CLEAR, border_value=1)] = 0
    peaks = peak_local_max(smooth, min_distance=24, num_peaks=_PLACES, exclude_border=False)
    return [
        _Place(plane.image.name, plane.z, int(y), int(x), round(float(smooth[y, x]), 4)) for y, x in peaks
    ]


def _save_places(path: Path, places: list[_Place]) -> None:
    best = sorted(places, key=lambda p: (-p.disagreement, p.image, p.z, p.y, p.x))[:_PLACES]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([p.image, p.z, p.y, p.x, p.disagreement] for p in best)


def _save_picture(path: Path, differing: np.ndarray) -> None:
    colours = (colormaps["magma"](differing * 2)[..., :3] * 255).astype(np.uint8)
    write_bytes(path, iio.imwrite("<bytes>", colours, extension=".png"))

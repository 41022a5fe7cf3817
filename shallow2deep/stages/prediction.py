"""Stage *prediction*: judges results by held-out strokes and takes over each class's map of the best one."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from shallow2deep.evaluation.advice import advice
from shallow2deep.evaluation.consistency import Consistency, changed_view
from shallow2deep.evaluation.held_out import (
    Score,
    count_strokes,
    disagreement,
    of_one_class,
    recommend,
    right_shares,
    scores_of,
)
from shallow2deep.evaluation.metrics import DiceCounts
from shallow2deep.evaluation.thresholds import best_threshold, shares_above
from shallow2deep.evaluation.where_to_paint import places_to_paint
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.results import (
    ENHANCED,
    FOREST,
    SUPERVISED,
    image_predictor,
    made,
    map_path,
    save_map,
    untouched_classes,
)
from shallow2deep.inputs.target import Plane, Target
from shallow2deep.io.atomic import atomic_path, write_bytes, write_json
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.devices import choose_device
from shallow2deep.outputs import IGNORED, foreground, is_exclusive, picked
from shallow2deep.progress import safely
from shallow2deep.runs.engine import Stage, after
from shallow2deep.runs.job import Job
from shallow2deep.seeding import generator
from shallow2deep.settings import AdaptConfig

_Shares = dict[str, dict[int, np.ndarray]]  # of each candidate, for each class, of each stroke

PREDICTION, CHOICE, PLACES = "prediction", "choice.json", "where_to_paint.csv"
MIXED = "mixed"  # what is recommended where classes differ in it
_JUDGING = 8  # version of how results are judged; raised with every change
COLUMNS = ("image", "z", "y", "x", "disagreement", "seen")  # of the list of places
_PLACES = 20
_VIEWS = 3  # on which consistency is measured


def prediction_stage(config: AdaptConfig, target: Target, candidates: Sequence[Stage]) -> Stage:
    inputs = target.fingerprints | target.label_fingerprints | after(*candidates)
    work = partial(judge, config, target, [stage.name for stage in candidates])
    return Stage(PREDICTION, {"seed": config.seed, "judging": _JUDGING}, inputs, work)


def judge(config: AdaptConfig, target: Target, candidates: Sequence[str], job: Job) -> None:
    """Scores the candidates, and takes over the maps of the one that is recommended."""
    names = made(job.run, candidates)
    found = _Findings(names, config.classes)
    for image, planes in safely(list(target.by_image()), "judging", job):
        _judge_image(found, image, planes, job)
    consistency = _consistency(names, config, target, job)
    scores = scores_of(found.shares, FOREST, config.seed, consistency)
    strokes = count_strokes([p.strokes + p.held_out for p in target.planes], len(config.classes))
    choices = _choices(found, config, target, consistency, strokes)
    for image in target.images:
        of_classes = {name: choice["recommended"] for name, choice in choices.items()}
        _take_over(job, image, of_classes, config.classes[0])
    places = sorted(found.places, key=lambda p: (-p.disagreement, p.image, p.z, p.y, p.x))[:_PLACES]
    _save_places(job.folder / PLACES, places)
    choice: dict[str, Any] = {
        **_together(choices),
        "of_classes": choices,
        "advice": _advice(found, config, target, strokes, [p.seen for p in places if p.is_of_two_minds]),
        "strokes": dict(zip(config.classes, strokes, strict=True)),
        "held_out_strokes": {
            name: len(found.shares[FOREST].get(n, [])) for n, name in enumerate(config.classes, 1)
        },
        "held_out_pixels": sum(int(np.count_nonzero(plane.held_out)) for plane in target.planes),
        "used_pixels": sum(int(np.count_nonzero(plane.strokes)) for plane in target.planes),
        "thresholds": {name: found.best_thresholds(name, config.classes) for name in names},
        "scores": {name: _without_nan(asdict(score)) for name, score in scores.items()},
        "most_disagreement": dict(zip(("mean", "image", "z"), max(found.disagreements), strict=True)),
        "planes": [
            {"image": p.image.name, "z": p.z, "differing": spread, "dice": _chosen_dice(dice, choices)}
            for p, spread, dice in zip(target.planes, found.spreads, found.plane_dice, strict=True)
        ],
    }
    if target.has_labels:
        choice["dice_on_labels"] = {name: _mean_dice(of_classes) for name, of_classes in found.dice.items()}
    write_json(job.folder / CHOICE, choice)


def _choices(
    found: "_Findings", config: AdaptConfig, target: Target, consistency: dict[str, float], strokes: list[int]
) -> dict[str, dict[str, str]]:
    """For each foreground class which result is recommended, and why."""
    kept = untouched_classes(config, target.enhancers)
    others = config.classes[0] if len(config.classes) == 2 else "the other classes"
    painted = ", ".join(f"{n} of {name}" for n, name in zip(strokes, config.classes, strict=True))
    choices = {}
    for number, name in enumerate(config.classes[1:], 1):
        shares = found.of_class[number]
        untold = {SUPERVISED}  # it has seen what users do not have
        if number in kept:
            untold.add(ENHANCED)  # whose map of this class is the forest's
        scores = scores_of(shares, FOREST, config.seed, consistency)
        judged = {result: score for result, score in scores.items() if result not in untold}
        counts = {said: len(shares[FOREST].get(n, [])) for n, said in enumerate((others, name), 1)}
        chosen, reason = recommend(judged, counts, FOREST, trusted(judged), painted)
        choices[name] = {"recommended": chosen, "reason": reason}
    return choices


def _together(choices: Mapping[str, dict[str, str]]) -> dict[str, str]:
    """The classes' choices as one, and the reasons."""
    if len(choices) == 1:
        return next(iter(choices.values()))
    distinct = {choice["recommended"] for choice in choices.values()}
    reasons = (f"{name} by {choice['recommended']}, {choice['reason']}" for name, choice in choices.items())
    return {"recommended": distinct.pop() if len(distinct) == 1 else MIXED, "reason": "; ".join(reasons)}


def _advice(
    found: "_Findings", config: AdaptConfig, target: Target, strokes: list[int], seen: list[str]
) -> list[str]:
    """What the user can do next."""
    kept = untouched_classes(config, target.enhancers)
    pixels = sum(int(np.prod(plane.raw.spatial_shape)) for plane in target.planes)
    shares = {
        name: (found.areas[FOREST][n] / pixels, found.areas[ENHANCED][n] / pixels)
        for n, name in enumerate(config.classes[1:])
        if n + 1 not in kept
    }
    painted = [plane.facts.intensities for plane in target.planes if plane.is_painted]
    learned = Intensities.together(painted) if painted else None
    unlike = [
        image.name
        for image in target.images
        if learned and any(facts.intensities.differs_from(learned) for facts in image.facts)
    ]
    named = dict(zip(config.classes, strokes, strict=True)) if target.has_strokes else {}
    return advice(named, [image.name for image in target.images], unlike, shares, seen)


def _take_over(job: Job, image: Image, of_classes: Mapping[str, str], background: str) -> None:
    """Makes an image's recommended map of the maps of the results that were chosen for its classes."""
    distinct = set(of_classes.values())
    if len(distinct) == 1:
        with atomic_path(map_path(job.folder, image)) as path:
            shutil.copyfile(map_path(job.run / distinct.pop(), image), path)
        return
    maps = {name: read_map(map_path(job.run / name, image)) for name in distinct}
    p, outputs = picked({name: maps[result] for name, result in of_classes.items()})
    save_map(job.folder, image, p, outputs, background)


@dataclass
class _Findings:
    """What is found image by image.

    Attributes:
        shares: of each candidate and class, the share of right pixels of each held-out stroke.
        of_class: of each foreground class, from 1, the same for that class against all others.
        above: of each candidate and foreground class, `shares_above` of each image.
        areas: of each candidate, the number of pixels of each foreground class.
        dice: of each candidate, for each foreground class, over all dense labels.
        spreads: of each plane, how far the candidates' maps differ.
        plane_dice: of each plane and candidate, for each foreground class, if there are dense labels.
        disagreements: of each image, of the plane where candidates differ most: how far, its name, z.
    """

    names: Sequence[str]
    classes: Sequence[str]
    shares: "_Shares" = field(init=False)
    of_class: "dict[int, _Shares]" = field(init=False)
    above: dict[str, dict[int, list[tuple[np.ndarray, np.ndarray]]]] = field(init=False)
    areas: dict[str, np.ndarray] = field(init=False)
    dice: dict[str, list[DiceCounts]] = field(init=False)
    spreads: list[float] = field(default_factory=list)
    plane_dice: list[dict[str, list[float]]] = field(default_factory=list)
    places: "list[_Place]" = field(default_factory=list)
    disagreements: list[tuple[float, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shares = {name: {} for name in self.names}
        self.of_class = {n: {name: {} for name in self.names} for n in range(1, len(self.classes))}
        self.areas = {name: np.zeros(len(self.classes) - 1) for name in self.names}
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
        _add(found.shares[name], right_shares(maps[name], held, is_exclusive(outputs)))
        for number, shares in found.of_class.items():
            alone = [p[number - 1 : number] for p in maps[name]]
            strokes = [of_one_class(drawn, number + 1) for drawn in held]
            _add(shares[name], right_shares(alone, strokes, exclusive=False))
            above = shares_above([p[0] for p in alone], held, number + 1)
            found.above[name].setdefault(number + 1, []).append(above)
    worst: tuple[float, int, np.ndarray] | None = None
    for plane in planes:
        at = {name: parts[plane.z] for name, parts in maps.items()}
        compared = {name: p for name, p in at.items() if name != SUPERVISED}
        differing = disagreement(list(compared.values()))
        found.places += _places(plane, compared, differing, found.classes)
        for name, p in at.items():
            found.areas[name] += np.count_nonzero(p > 0.5, axis=tuple(range(1, p.ndim)))
        found.spreads.append(round(float(np.std(list(at.values()), axis=0).mean()), 6))
        found.plane_dice.append(_count_dice(found, at, plane))
        for z, one in enumerate(differing if differing.ndim == 3 else differing[None], plane.z):
            if worst is None or one.mean() > worst[0]:
                worst = float(one.mean()), z, one
    assert worst is not None, "an image without parts"
    _save_picture(disagreement_path(job.folder, image), worst[2])
    found.disagreements.append((worst[0], image.name, worst[1]))


def _add(shares: dict[int, np.ndarray], further: Mapping[int, np.ndarray]) -> None:
    for k, values in further.items():
        shares[k] = np.concatenate([shares.get(k, []), values])


def _count_dice(found: _Findings, maps: Mapping[str, np.ndarray], plane: Plane) -> dict[str, list[float]]:
    """Adds a plane's pixels to each candidate's counts, and gives the plane's own Dice of each class."""
    if plane.labels is None:
        return {}
    own: dict[str, list[float]] = {}
    for name, p in maps.items():
        classes = plane.true_classes(len(p))
        counted = classes != IGNORED
        truths = [classes == k for k in range(1, len(p) + 1)]
        here = [DiceCounts() for _ in p]
        found.dice[name] = found.dice[name] or [DiceCounts() for _ in p]
        for counts in (here, found.dice[name]):
            for one, values, truth in zip(counts, p, truths, strict=True):
                one.add(values[counted], truth[counted])
        own[name] = [one.dice for one in here]
    return own


def _chosen_dice(dice: Mapping[str, list[float]], choices: Mapping[str, dict[str, str]]) -> float | None:
    """Of a plane, mean over classes of what was chosen for each; None without labels."""
    if not dice:
        return None
    of_classes = [dice[choice["recommended"]][n] for n, choice in enumerate(choices.values())]
    return _known(float(np.mean(of_classes)))


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
    how = {name: image_predictor(job.run, name, config, device, target.enhancers) for name in able}
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
    seen: str

    @property
    def is_of_two_minds(self) -> bool:
        """Whether results see different classes there, and not only surer and less sure the same."""
        return self.seen.count(" by ") > 1


def _places(
    plane: Plane, maps: Mapping[str, np.ndarray], differing: np.ndarray, classes: Sequence[str]
) -> list[_Place]:
    """By the maps of all results, `(C - 1, *spatial)`, and how far they differ, `(*spatial)`."""
    painted = plane.strokes + plane.held_out
    places = []
    for peak, value in places_to_paint(list(maps.values()), differing, painted, _PLACES):
        *z, y, x = peak
        there: tuple[Any, ...] = (slice(None), *peak)
        seen = _seen({name: p[there] for name, p in maps.items()}, classes)
        places.append(_Place(plane.image.name, z[0] if z else plane.z, y, x, round(value, 4), seen))
    return places


def _seen(values: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    """What each result takes a pixel for, such as "disc by target_forest, background by enhanced"."""
    by: dict[str, list[str]] = {}
    for name, p in values.items():
        by.setdefault(classes[int(p.argmax()) + 1] if p.max() > 0.5 else classes[0], []).append(name)
    return ", ".join(f"{name} by {' and '.join(results)}" for name, results in by.items())


def _save_places(path: Path, places: list[_Place]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([p.image, p.z, p.y, p.x, p.disagreement, p.seen] for p in places)


def _save_picture(path: Path, differing: np.ndarray) -> None:
    from matplotlib import colormaps  # slow to import

    colours = (colormaps["magma"](differing * 2)[..., :3] * 255).astype(np.uint8)
    write_bytes(path, iio.imwrite("<bytes>", colours, extension=".png"))

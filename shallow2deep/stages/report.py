"""Stage *report*: the adaptation as one page, `report.html`, and `panels.png`."""

import csv
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch

from shallow2deep.evaluation.page import Report, Table, curves_picture, save_report
from shallow2deep.evaluation.pictures import (
    CLASS_COLOURS,
    INSTANCES,
    OUTLINES,
    STROKES,
    marked,
    orthogonal,
    save_panel,
)
from shallow2deep.inputs.models import given_enhancers
from shallow2deep.inputs.results import ENHANCED, FOREST, foreground_maps, made
from shallow2deep.inputs.target import Plane, Target
from shallow2deep.io.atomic import read_json
from shallow2deep.io.object_files import paths_of
from shallow2deep.io.volumes import open_volume
from shallow2deep.runs.engine import Stage, after, minutes_of
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig, dump_yaml
from shallow2deep.stages.objects import OBJECTS
from shallow2deep.stages.prediction import CHOICE, COLUMNS, PLACES, PREDICTION, disagreement_path
from shallow2deep.version import VERSION

REPORT, PAGE, PANELS = "report", "report.html", "panels.png"
_ROWS = 10  # places that are listed
_MAX_SIDE = 640  # pixels of a picture in a panel


def report_stage(
    config: AdaptConfig, target: Target, candidates: Sequence[Stage], results: Sequence[Stage]
) -> Stage:
    """Of results: the prediction, and the objects if there are any.

    Settings that decide nothing, which the page shows as well, make it anew, too.
    """
    settings = {"page": config.model_dump(mode="json"), "metadata": target.metadata}
    work = partial(write_report, config, target, [stage.name for stage in candidates])
    return Stage(REPORT, settings, after(*results), work, shown=(PAGE, PANELS))


def write_report(config: AdaptConfig, target: Target, candidates: Sequence[str], job: Job) -> None:
    """Collects what the finished stages have left and writes the page."""
    run = job.run
    choice = read_json(run / PREDICTION / CHOICE)
    names = made(run, candidates)
    with (run / PREDICTION / PLACES).open(newline="") as file:
        places = list(csv.DictReader(file))[:_ROWS]
    flat = not any(len(image.whole.spatial_shape) == 3 for image in target.images)
    shown = [name for name in COLUMNS if name != "z" or not flat]
    planes = _chosen_planes(choice["planes"], target)
    panels = save_panel(
        job.folder / PANELS,
        [_row(run, names, plane, config.objects is not None) for _, plane in planes],
        [word for word, _ in planes],
    )
    most = choice["most_disagreement"]
    worst = next(image for image in target.images if image.name == most["image"])
    where = f", z {most['z']}" if worst.whole.ndim == 3 else ""
    there = [
        (n, int(row["y"]), int(row["x"]))
        for n, row in enumerate(places, 1)
        if (row["image"], int(row["z"])) == (worst.name, most["z"])
    ]
    curves = {name: found for name in names if (found := _losses(run / name / "tensorboard"))}
    report = Report(
        title=f"Adaptation: {', '.join(config.classes[1:])}",
        subtitle=f"{len(target.planes)} images, {choice['used_pixels']} stroke pixels to learn from and "
        f"{choice['held_out_pixels']} held out ({_strokes_text(choice)}), seed {config.seed}",
        recommended=choice["recommended"],
        reason=choice["reason"],
        advice=choice["advice"],
        scores=_scores(run, names, choice),
        panels=panels.read_bytes(),
        panels_note=f"The best, a median and the worst image by {_measure(target)}; outlines are "
        "those of the recommended result; right: the largest difference between any two results.",
        legend=list(zip(CLASS_COLOURS, config.classes, strict=False)),
        place_columns=["", *shown],
        places=[[str(n), *(row[name] for name in shown)] for n, row in enumerate(places, 1)],
        disagreement=marked(iio.imread(disagreement_path(run / PREDICTION, worst)), there),
        disagreement_note=f"Disagreement in {worst.name}{where}: dark, none; bright, most; numbers are those "
        f"of the table. The full list is in {PREDICTION}/{PLACES}.",
        curves=curves_picture(curves) if curves else None,
        made_with=_made_with(config, target),
        settings=dump_yaml(config),
    )
    save_report(job.folder / PAGE, report)


def _measure(target: Target) -> str:
    return "the recommended result's Dice on the labels" if target.has_labels else "how far the results agree"


def _strokes_text(choice: dict[str, Any]) -> str:
    return "strokes: " + ", ".join(f"{n} of {name}" for name, n in choice["held_out_strokes"].items())


def _scores(run: Path, names: list[str], choice: dict[str, Any]) -> Table:
    minutes = minutes_of(run)
    dense = choice.get("dice_on_labels")
    columns = ["result", "right", "95 % interval", "gain over forest", "its interval"]
    columns += ["consistency", "minutes", "CPU minutes", *(["Dice on labels"] if dense else [])]
    rows = []
    for name in names:
        score, took = choice["scores"][name], minutes.get(name, {})
        rows.append(
            [
                name,
                _number(score["accuracy"]),
                _interval(score["low"], score["high"]),
                _number(score["gain"], "+"),
                _interval(score["gain_low"], score["gain_high"], "+"),
                _number(score["consistency"]),
                f"{took['wall']:.1f}" if took else "–",
                f"{took['cpu']:.1f}" if took else "–",
                *([_number(dense[name])] if dense else []),
            ]
        )
    return Table(
        "Each result judged by strokes that nothing has learned from.",
        columns,
        rows,
        "Right: share of held-out pixels with the right class, mean over a class's strokes, then classes; "
        "intervals from strokes drawn again. Consistency: overlap with that of the flipped, noisy image.",
    )


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _interval(low: float | None, high: float | None, sign: str = "") -> str:
    return "–" if low is None else f"{_number(low, sign)} to {_number(high, sign)}"


def _chosen_planes(found: Sequence[dict[str, Any]], target: Target) -> list[tuple[str, Plane]]:
    """The best, median and worst planes: by the recommended result's Dice, or by how far results agree."""
    quality = [(one["dice"] or 0.0) if target.has_labels else -one["differing"] for one in found]
    order = sorted(range(len(found)), key=lambda i: -quality[i])
    chosen = dict.fromkeys([order[0], order[len(order) // 2], order[-1]])
    ends = ("best", "worst") if target.has_labels else ("most alike", "least alike")
    words = {1: [""], 2: list(ends), 3: [ends[0], "median", ends[1]]}[len(chosen)]
    if target.has_labels:
        words = [f"{word} (Dice {quality[i]:.2f})".strip() for word, i in zip(words, chosen, strict=True)]
    return [(word, target.planes[i]) for word, i in zip(words, chosen, strict=True)]


def _row(run: Path, names: Sequence[str], plane: Plane, objects: bool) -> dict[str, np.ndarray]:
    """raw, strokes, outlines, objects, forest, enhanced, others, difference of a plane, its middle if large.

    Of a volume three planes at right angles.
    """
    strokes = plane.strokes + plane.held_out
    view = partial(_view_of_volume, plane, strokes) if strokes.ndim == 3 else _middle
    raw = plane.raw.read()
    row = {"raw": view(raw.mean(0) if raw.ndim > strokes.ndim else raw)}
    if view(strokes).any():
        row[STROKES] = view(strokes)
    maps = {name: view(foreground_maps(run / name, plane.image)[plane.z]) for name in (PREDICTION, *names)}
    row[OUTLINES] = maps.pop(PREDICTION)
    if objects:
        labels = open_volume(paths_of(run / OBJECTS, plane.image.name)[0]).read()
        row[INSTANCES] = view(labels[plane.z] if plane.image.stacked else labels)
    titles = {FOREST: "forest", ENHANCED: "enhanced"}
    row |= {titles.get(name, name): p for name, p in maps.items()}
    if plane.labels is not None:
        count = len(row[OUTLINES])
        classes = view(plane.true_classes(count))
        row["labels"] = np.stack([classes == k for k in range(1, count + 1)]).astype(np.float32)
    return row | {"difference": np.ptp([p.max(0) for p in maps.values()], axis=0)}


def _middle(image: np.ndarray) -> np.ndarray:
    y, x = (max(0, (n - _MAX_SIDE) // 2) for n in image.shape[-2:])
    return image[..., y : y + _MAX_SIDE, x : x + _MAX_SIDE]


def _view_of_volume(plane: Plane, strokes: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Three planes, through strokes or through the middle; their middle if large."""
    z, *place = _place_to_see(strokes)
    starts = [
        max(0, min(p - _MAX_SIDE // 2, n - _MAX_SIDE)) for p, n in zip(place, strokes.shape[1:], strict=True)
    ]
    size = plane.image.voxel_size or (1.0, 1.0, 1.0)
    depth = min(_MAX_SIDE, max(1, round(len(strokes) * size[0] / size[-1])))
    y, x = (p - start for p, start in zip(place, starts, strict=True))
    top, left = starts
    part = volume[..., top : top + _MAX_SIDE, left : left + _MAX_SIDE]
    return orthogonal(part, (z, y, x), depth)


def _place_to_see(strokes: np.ndarray) -> list[int]:
    """The stroke's voxel nearest to the middle of all strokes; without strokes, the middle of the volume."""
    places = np.argwhere(strokes)
    if not len(places):
        return [n // 2 for n in strokes.shape]
    return [int(n) for n in places[((places - places.mean(0)) ** 2).sum(1).argmin()]]


def _losses(folder: Path) -> list[tuple[int, float]]:
    if not folder.is_dir():
        return []
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    events = EventAccumulator(str(folder), {"scalars": 0})
    events.Reload()
    if "training/loss" not in events.Tags()["scalars"]:
        return []
    return [(point.step, point.value) for point in events.Scalars("training/loss")]


def _made_with(config: AdaptConfig, target: Target) -> list[tuple[str, str]]:
    said = target.metadata
    given = [
        f"{one.class_name}: {one.name}" if one.class_name else one.name for one in given_enhancers(config)
    ]
    rows = [
        ("shallow2deep", VERSION),
        ("Python, numpy, torch", f"{platform.python_version()}, {np.__version__}, {torch.__version__}"),
        ("machine", f"{platform.machine()}, {platform.system()}"),
        ("raw", ", ".join(str(image.file) for image in target.images)),
        ("strokes", ", ".join(config.target.strokes) or config.target.ilp or "none"),
        ("enhancer", ", ".join(given)),
    ]
    for name, key in (("name", "name"), ("data's licences", "data_licences")):
        if said.get(key):
            value = said[key]
            rows.append(
                (f"enhancer's {name}", value if isinstance(value, str) else "; ".join(map(str, value)))
            )
    return rows

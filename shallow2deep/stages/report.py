"""The report of an adaptation: `report.html` and `panels.png` in the run's folder."""

import csv
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shallow2deep.settings import AdaptConfig, dump_yaml
from shallow2deep.evaluation.pictures import save_panel
from shallow2deep.evaluation.page import Report, Table, curves_picture, save_report
from shallow2deep.io.atomic import read_json
from shallow2deep.inputs.results import ENHANCED, FOREST, candidate_names, foreground_maps, made
from shallow2deep.stages.prediction import CHOICE, PLACES, PREDICTION, dice_of, disagreement_path
from shallow2deep.runs.engine import MINUTES
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.models import load_enhancer
from shallow2deep.inputs.target import Target, open_target
from shallow2deep.version import VERSION

_ROWS = 10  # places that are listed
_MAX_SIDE = 640  # pixels of a picture in a panel


def write_report(run: Path, config: AdaptConfig, trust: bool = False) -> Path:
    """Collects what the finished stages have left and writes the page."""
    target = open_target(config, trust)
    choice = read_json(run / PREDICTION / CHOICE)
    names = made(run, candidate_names(config))
    with (run / PREDICTION / PLACES).open(newline="") as file:
        places = [tuple(row) for row in csv.reader(file)][1:]
    planes = _chosen_planes(run, names, choice["recommended"], target, config)
    panels = save_panel(
        run / "panels.png",
        [_row(run, names, target, config, *plane) for _, plane in planes],
        [word for word, _ in planes],
    )
    most = choice["most_disagreement"]
    worst = next(image for image in target.images if image.name == most["image"])
    plane = f", z {most['z']}" if worst.stacked else ""
    curves = {name: found for name in names if (found := _losses(run / name / "tensorboard"))}
    report = Report(
        title=f"Adaptation: {', '.join(config.classes[1:])}",
        subtitle=f"{len(target.raws)} images, {choice['used_pixels']} stroke pixels to learn from and "
        f"{choice['held_out_pixels']} held out ({_strokes_text(choice, config)}), seed {config.seed}",
        recommended=choice["recommended"],
        reason=choice["reason"],
        scores=_scores(run, names, choice),
        panels=panels.read_bytes(),
        panels_note=f"The best, a median and the worst image by {_measure(target)}; right: the largest "
        "difference between any two results.",
        places=places[:_ROWS],
        disagreement=disagreement_path(run / PREDICTION, worst).read_bytes(),
        disagreement_note=f"Disagreement in {worst.name}{plane}: dark, none; bright, most. The full "
        f"list is in {PREDICTION}/{PLACES}.",
        curves=curves_picture(curves) if curves else None,
        made_with=_made_with(run, config, target),
        settings=dump_yaml(config),
    )
    return save_report(run / "report.html", report)


def _measure(target: Target) -> str:
    return "the recommended result's Dice on the labels" if target.labels else "how far the results agree"


def _strokes_text(choice: dict[str, Any], config: AdaptConfig) -> str:
    counts = choice["held_out_strokes"]
    named = [f"{counts.get(str(n), 0)} of {name}" for n, name in enumerate(config.classes, 1)]
    return "strokes: " + ", ".join(named)


def _scores(run: Path, names: list[str], choice: dict[str, Any]) -> Table:
    minutes = read_json(run / MINUTES) if (run / MINUTES).is_file() else {}
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


def _chosen_planes(
    run: Path, names: list[str], recommended: str, target: Target, config: AdaptConfig
) -> list[tuple[str, tuple[Image, int]]]:
    """The best, median and worst planes: by the recommended result's Dice, or by how far results agree."""
    found: list[tuple[float, tuple[Image, int]]] = []
    for image in target.images:
        maps = {name: foreground_maps(run, name, image, len(config.classes)) for name in names}
        for z in range(len(image.parts)):
            if target.labels:
                quality = dice_of([maps[recommended][z]], [target.labels[len(found)].read()]) or 0.0
            else:
                quality = -float(np.std([m[z] for m in maps.values()], axis=0).mean())
            found.append((quality, (image, z)))
    order = sorted(range(len(found)), key=lambda i: -found[i][0])
    chosen = dict.fromkeys([order[0], order[len(order) // 2], order[-1]])
    ends = ("best", "worst") if target.labels else ("most alike", "least alike")
    words = {1: [""], 2: list(ends), 3: [ends[0], "median", ends[1]]}[len(chosen)]
    if target.labels:
        words = [f"{word} (Dice {found[i][0]:.2f})".strip() for word, i in zip(words, chosen, strict=True)]
    return [(word, found[i][1]) for word, i in zip(words, chosen, strict=True)]


def _row(
    run: Path, names: list[str], target: Target, config: AdaptConfig, image: Image, z: int
) -> dict[str, np.ndarray]:
    """raw | strokes | forest | enhanced | others | difference of one plane, its middle if it is large."""
    number = sum(len(other.parts) for other in target.images[: target.images.index(image)]) + z
    strokes = target.strokes[number] + target.held_out[number]

    def view(plane: np.ndarray) -> np.ndarray:
        starts = [max(0, (n - _MAX_SIDE) // 2) for n in plane.shape]
        return plane[tuple(slice(s, s + _MAX_SIDE) for s in starts)]

    raw = image.parts[z].read()
    row = {"raw": view(raw.mean(0) if raw.ndim == 3 else raw)}
    if view(strokes).any():
        row["strokes"] = view(strokes)
    maps = {n: view(foreground_maps(run, n, image, len(config.classes))[z].max(0)) for n in names}
    titles = {FOREST: "forest", ENHANCED: "enhanced"}
    row |= {titles.get(name, name): p for name, p in maps.items()}
    if target.labels:
        row["labels"] = (view(target.labels[number].read()) > 0).astype(np.float32)
    return row | {"difference": np.ptp(list(maps.values()), axis=0)}


def _losses(folder: Path) -> list[tuple[int, float]]:
    if not folder.is_dir():
        return []
    events = EventAccumulator(str(folder), {"scalars": 0})
    events.Reload()
    if "training/loss" not in events.Tags()["scalars"]:
        return []
    return [(point.step, point.value) for point in events.Scalars("training/loss")]


def _made_with(run: Path, config: AdaptConfig, target: Target) -> list[tuple[str, str]]:
    record = load_enhancer(run / ENHANCED, target.trust)[1].record
    rows = [
        ("shallow2deep", VERSION),
        ("Python, numpy, torch", f"{platform.python_version()}, {np.__version__}, {torch.__version__}"),
        ("machine", f"{platform.machine()}, {platform.system()}"),
        ("raw", ", ".join(str(image.file) for image in target.images)),
        ("strokes", ", ".join(config.target.strokes) or config.target.ilp or "none"),
        ("enhancer", config.enhancer),
    ]
    for name, key in (("name", "name"), ("data's licences", "data_licences")):
        if record.get(key):
            value = record[key]
            rows.append(
                (f"enhancer's {name}", value if isinstance(value, str) else "; ".join(map(str, value)))
            )
    return rows

"""`s2d compare`: all results and baselines of an adaptation with several seeds, side by side."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shallow2deep.commands.adapt import adapt
from shallow2deep.commands.evaluate import evaluate
from shallow2deep.commands.predict import RECOMMENDED, predict
from shallow2deep.errors import InputError
from shallow2deep.forests import Forest
from shallow2deep.inference.forest_maps import learned_by
from shallow2deep.inference.intensity import compare_with_learned
from shallow2deep.inputs.ilastik import with_project
from shallow2deep.inputs.images import Image, open_images
from shallow2deep.inputs.models import find_enhancer, given_enhancers
from shallow2deep.inputs.results import FOREST, SOURCE_MODEL, SOURCE_NET, candidate_names, made
from shallow2deep.io.atomic import read_json, write_json, write_text
from shallow2deep.io.known import Known
from shallow2deep.networks.model import load_spec
from shallow2deep.runs.engine import minutes_of
from shallow2deep.runs.folder import command_of
from shallow2deep.settings import (
    AdaptConfig,
    CompareSettings,
    RawData,
    read_yaml,
    validated,
)
from shallow2deep.stages.kept import kept_copy
from shallow2deep.stages.prediction import CHOICE, PREDICTION


@dataclass(frozen=True)
class Comparison:
    """Where the table lies, and its text (Markdown)."""

    path: Path
    text: str


def with_baselines(config: AdaptConfig, run: Path) -> AdaptConfig:
    """The same settings with every baseline that data and enhancer allow, and a segmentor.

    Args:
        run: that will be adapted in, and may have a source net of its own.
    """
    config = with_project(config)
    wanted = CompareSettings(
        source_net=_has_source_net(config, run) and len(config.classes) == 2,
        strokes_net=True,
        supervised=config.target.labels is not None,
    )
    return config.model_copy(update={"compare": wanted, "segmentor": config.target_network})


def _has_source_net(config: AdaptConfig, run: Path) -> bool:
    """Whether there is one, of as many axes as the images."""
    enhancer, *others = (given.name for given in given_enhancers(config))
    if others:
        return False
    if kept_copy(run, SOURCE_MODEL, enhancer, Known()):
        return True
    try:
        source = find_enhancer(enhancer).parent
    except InputError:
        return False  # whether the run has a copy of the enhancer shows when it is opened
    there = command_of(source) == "enhancer-train" and (source / SOURCE_NET / "model.json").is_file()
    return there and load_spec(source / SOURCE_NET).ndim == config.ndim


def compare(
    run: str | Path,
    seeds: int = 3,
    labels: Sequence[str] | None = None,
    test_raw: RawData | None = None,
    test_labels: RawData | None = None,
    trust: bool = False,
    rescale: bool = False,
) -> Comparison:
    """Adapts anew with each seed, in `RUN/compare/seed-N`, with every baseline.

    Args:
        run: of `adapt`; its settings are used.
        labels: dense labels of its images: scores on them, and the supervised upper bound.
        test_raw, test_labels: further images, which no result has seen, and their dense labels.
        trust: whether Python code in the enhancer's package may be run, if it needs that.
        rescale: whether test images are brought to the range of values that was learned on, as `predict`
            does it; for the run's own images its setting counts.

    Raises:
        InputError: anything that cannot be used, before any work.
        Interrupted: a signal came; the same call goes on.
    """
    run = Path(run)
    if command_of(run) != "adapt":
        raise InputError(f"{run}: no run of adapt here; give one")
    if (test_raw is None) != (test_labels is None):
        raise InputError("test images and their labels belong together; give both")
    config = validated(AdaptConfig, read_yaml(run / "settings.yaml"), str(run / "settings.yaml"))
    if labels is not None:
        values = config.model_dump()
        values["target"]["labels"] = labels
        config = validated(AdaptConfig, values, "compare")
    if test_raw is not None and test_labels is not None:
        if config.target.probabilities:
            raise InputError(
                f"{run} was made from given maps, so test images cannot be predicted; leave them out"
            )
        if len(config.classes) > 2:
            raise InputError("test images are scored for one foreground class only; leave them out")
        images = open_images(test_raw, config.ndim, config.target.channels)
        count = len(open_images(test_labels, config.ndim))
        if len(images) != count:
            raise InputError(f"{len(images)} test images but {count} labels came; give one for each")
        if not rescale:
            _require_near(run, images)
    results = []
    for n in range(seeds):
        place = run / "compare" / f"seed-{config.seed + n}"
        config_of_seed = with_baselines(config.model_copy(update={"seed": config.seed + n}), place)
        adapt(config_of_seed, place, trust)
        results.append(_result(place, config_of_seed, test_raw, test_labels, trust, rescale))
    text = _table(results)
    write_json(run / "compare" / "scores.json", results)
    write_text(run / "compare" / "scores.md", text + "\n")
    return Comparison(run / "compare" / "scores.md", text)


def _require_near(run: Path, images: Sequence[Image]) -> None:
    """Whether the forest of a run could predict images; `predict` asks again, of each result.

    Raises:
        InputError: one is far outside the range of values that the forest has learned on.
    """
    place = run / FOREST / "forest.npz"
    if place.is_file() and (learned := learned_by(Forest.load(place))):
        found = [(str(image.file), facts.intensities) for image in images for facts in image.facts]
        compare_with_learned(found, learned, "the forest")


def _result(
    run: Path,
    config: AdaptConfig,
    test_raw: RawData | None,
    test_labels: RawData | None,
    trust: bool,
    rescale: bool,
) -> dict[str, Any]:
    """What one seed's run has found."""
    choice, minutes = read_json(run / PREDICTION / CHOICE), minutes_of(run)
    names = made(run, candidate_names(config))
    tested: dict[str, float] = {}
    if test_raw is not None and test_labels is not None:
        for name in names:
            maps = predict(run, test_raw, run / "test" / name, name, trust=trust, rescale=rescale)
            own = RawData(raw=tuple(map(str, maps)))
            dice = evaluate(own, test_labels, ignore_label=config.target.ignore_label)["all"]["dice"]
            if dice == dice:
                tested[name] = dice
    return {
        RECOMMENDED: choice["recommended"],
        "used_pixels": choice["used_pixels"],
        "results": {
            name: {
                "held-out strokes": choice["scores"][name]["accuracy"],
                "Dice on labels": choice.get("dice_on_labels", {}).get(name),
                "Dice on test": tested.get(name),
                "minutes": minutes.get(name, {}).get("wall"),
                "CPU minutes": minutes.get(name, {}).get("cpu"),
            }
            for name in names
        },
    }


def _table(results: list[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds; a dash where nothing was measured."""
    names = list(dict.fromkeys(name for result in results for name in result["results"]))
    columns = [c for c in results[0]["results"][names[0]] if any(_values(results, n, c) for n in names)]
    pixels = statistics.mean(result["used_pixels"] for result in results)
    lines = [
        f"{len(results)} seeds; {pixels:.0f} stroke pixels learned from.",
        "",
        f"| result | {' | '.join(columns)} | recommended |",
        f"|---|{'---|' * (len(columns) + 1)}",
    ]
    for name in names:
        cells = [_cell(_values(results, name, column)) for column in columns]
        times = sum(result[RECOMMENDED] == name for result in results)
        lines.append(f"| {name} | {' | '.join(cells)} | {f'{times}x' if times else ''} |")
    return "\n".join(lines)


def _values(results: list[dict[str, Any]], name: str, column: str) -> list[float]:
    found = [result["results"].get(name, {}).get(column) for result in results]
    return [value for value in found if value is not None]


def _cell(values: list[float]) -> str:
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"

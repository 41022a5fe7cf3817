"""`s2d demo`: the whole way on small images that come with the package."""

import logging
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from shallow2deep.commands.adapt import adapt
from shallow2deep.commands.enhancer_train import enhancer_train
from shallow2deep.commands.evaluate import evaluate
from shallow2deep.commands.predict import predict
from shallow2deep.evaluation.pictures import save_panel
from shallow2deep.io.atomic import write_json
from shallow2deep.io.map_files import read_map
from shallow2deep.io.volumes import open_volume
from shallow2deep.outputs import foreground
from shallow2deep.settings import (
    AdaptConfig,
    EnhancerTrainConfig,
    RawData,
    TargetData,
    read_yaml,
    validated,
)

log = logging.getLogger(__name__)

_PAINTED = ("f728de042672", "ad9d305cbf19", "80632d6be60c")
_TEST = ("1400420310c9", "a5e695fce80d")


@dataclass(frozen=True)
class DemoResult:
    """Scores on the test images by step, and where everything lies."""

    scores: dict[str, dict[str, float]]
    places: dict[str, Path]


def run_demo(out: Path) -> DemoResult:
    """Trains an enhancer on nuclei, adapts it to dimmer ones with a few strokes, and scores it.

    Raises:
        Interrupted: a signal came; the same call goes on.
    """
    data = Path(str(files("shallow2deep") / "demo"))
    settings = data / "enhancer.yaml"
    log.info("1/3 enhancer, from labelled source images (%s)", data / "source")
    config = validated(EnhancerTrainConfig, read_yaml(settings), str(settings))
    enhancer_train(config, out / "enhancer-run")

    log.info("2/3 adaptation, from strokes on three target images (%s)", data / "target")
    target = TargetData(
        raw=tuple(str(data / "target" / f"{stem}_raw.png") for stem in _PAINTED),
        strokes=tuple(str(data / "target" / f"{stem}_strokes.png") for stem in _PAINTED),
    )
    adapt_config = AdaptConfig(
        classes=("background", "nuclei"), target=target, enhancer=str((out / "enhancer-run").resolve())
    )
    adapt(adapt_config, out / "adapt-run")

    log.info("3/3 prediction and scores of two further target images")
    scores = {}
    raw = RawData(raw=tuple(str(data / "target" / f"{stem}_raw.png") for stem in _TEST))
    labels = RawData(raw=tuple(str(data / "target" / f"{stem}_nuclei.png") for stem in _TEST))
    for step in ("forest", "enhanced"):
        maps = predict(out / "adapt-run", raw, out / "test" / step, step)
        scores[step] = evaluate(RawData(raw=tuple(map(str, maps))), labels)["all"]
    write_json(out / "scores.json", scores)
    rows = [_row(data, out, stem) for stem in (*_PAINTED, *_TEST)]
    panel = save_panel(out / "panel.png", rows, [*("painted" for _ in _PAINTED), *("test" for _ in _TEST)])
    places = {
        "panel": panel,
        "scores": out / "scores.json",
        "enhancer": out / "enhancer-run" / "enhancer",
        "adaptation": out / "adapt-run",
        "test maps": out / "test",
        "learning curves": out / "enhancer-run" / "enhancer" / "tensorboard",
    }
    return DemoResult(scores, places)


def _row(data: Path, out: Path, stem: str) -> dict[str, np.ndarray]:
    """raw | strokes | forest | enhanced | truth of one image."""
    painted = stem in _PAINTED
    row = {"raw": open_volume(data / "target" / f"{stem}_raw.png").read()}
    if painted:
        row["strokes"] = open_volume(data / "target" / f"{stem}_strokes.png").read()
    for title, folder in (("forest", "target_forest"), ("enhanced", "enhanced")):
        place = out / "adapt-run" / folder if painted else out / "test" / title
        row[title] = foreground(*read_map(place / f"{stem}_raw.h5"))[0]
    row["truth"] = (open_volume(data / "target" / f"{stem}_nuclei.png").read() > 0).astype(np.float32)
    return row

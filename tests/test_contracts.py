"""What the rooms promise each other, and what the package promises to programs."""

import inspect
import pickle
from collections import Counter
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from tiny import SEGMENTOR, Data

import shallow2deep as s2d
from shallow2deep.commands.adapt import opened
from shallow2deep.commands.adapt import target_stages as stages_of_target
from shallow2deep.commands.enhancer_train import source_stages
from shallow2deep.io.known import Known
from shallow2deep.runs.engine import Stage
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig

PACKAGE = Path(str(files("shallow2deep")))
ROOT = PACKAGE.parent


def test_every_public_name_is_there_and_told() -> None:
    for name in s2d.__all__:
        assert getattr(s2d, name).__doc__, name
        assert name in dir(s2d)
    assert {"adapt", "predict", "FeatureSpec", "InputError", "Interrupted", "RawData"} <= set(s2d.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        s2d.nothing  # noqa: B018


def _own_types(annotation: object) -> set[str]:
    """The names of the package's types in an annotation."""
    own = isinstance(annotation, type) and annotation.__module__.startswith("shallow2deep")
    inner = {name for part in get_args(annotation) for name in _own_types(part)}
    return inner | ({annotation.__name__} if own else set())  # type: ignore[attr-defined]


def test_the_types_that_public_functions_take_and_give_are_public() -> None:
    functions = [getattr(s2d, name) for name in s2d.__all__ if inspect.isfunction(getattr(s2d, name))]
    used = {
        name
        for function in functions
        for hint in get_type_hints(function).values()
        for name in _own_types(hint)
    }
    assert {"AdaptConfig", "RawData", "FeatureSpec", "Forest"} <= used
    assert used <= set(s2d.__all__)


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_modules_have_names_of_their_own() -> None:
    """But for source and target, whose settings and data are two rooms' views of one subject."""
    counts = Counter(path.stem for path in PACKAGE.rglob("*.py") if path.stem != "__init__")
    assert {name for name, count in counts.items() if count > 1} <= {"source", "target"}


def test_every_stage_has_a_file_of_its_name(data: Data, source_run: Path, tmp_path: Path) -> None:
    """Variants and baselines, which share one, apart."""
    stages = source_stages(data.source(source_net=data.source_values()["enhancer"]), Known())
    stages += target_stages(data.target(source_run, segmentor=SEGMENTOR), tmp_path, Known())
    names = {stage.name.partition("-")[0] for stage in stages}
    assert names - {path.stem for path in (PACKAGE / "stages").glob("*.py")} == set()


def target_stages(config: AdaptConfig, run: Path, known: Known) -> list[Stage]:
    return stages_of_target(config, opened(config, run, known), run, known)


@pytest.fixture
def all_stages(data: Data, source_run: Path, tmp_path: Path) -> list[Stage]:
    target = {
        "raw": f"{data.folder}/target*_raw.png",
        "strokes": f"{data.folder}/target*_strokes.png",
        "labels": f"{data.folder}/target*_labels.png",
    }
    config = data.target(
        source_run,
        target=target,
        segmentor=SEGMENTOR | {"variants": ["plain"], "rounds": 2},
        compare={"source_net": True, "strokes_net": True, "supervised": True},
    )
    source = data.source(source_net=data.source_values()["enhancer"])
    return source_stages(source, Known()) + target_stages(config, tmp_path, Known())


def test_the_work_of_a_stage_can_be_sent_elsewhere(all_stages: list[Stage]) -> None:
    assert len(all_stages) > 15
    for stage in all_stages:
        work = getattr(stage.work, "func", stage.work)
        assert getattr(import_module(work.__module__), work.__name__) is work, stage.name
        assert pickle.loads(pickle.dumps(stage)).key == stage.key, stage.name


def test_one_stage_can_be_run_alone(data: Data, source_run: Path, target_run: Path, tmp_path: Path) -> None:
    """Elsewhere, with nothing but its job."""
    stages = {stage.name: stage for stage in target_stages(data.target(source_run), tmp_path, Known())}
    sent: Stage = pickle.loads(pickle.dumps(stages["target_forest"]))
    (tmp_path / "target_forest").mkdir()
    sent.work(Job(tmp_path / "target_forest"))
    for path in (target_run / "target_forest").glob("*.h5"):
        assert (tmp_path / "target_forest" / path.name).read_bytes() == path.read_bytes()


def test_no_file_is_found_by_counting_folders() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert ".parents[" not in path.read_text(encoding="utf-8"), path


def test_the_flags_of_adapt_are_settings() -> None:
    from shallow2deep.settings import ADAPT, AdaptConfig, validated, with_flags

    names = [flag.name for flag in ADAPT]
    assert {"raw", "strokes", "enhancer", "ilp", "segmentor", "probabilities", "channel"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(flag.help for flag in ADAPT)
    given = {"raw": ["a.png"], "strokes": ["b.png"], "enhancer": "nuclei-2d", "segmentor": ["plain", "both"]}
    config = validated(AdaptConfig, with_flags({"target": {"raw": "other.png"}}, given), "test")
    assert config.target.raw == (str(Path.cwd() / "a.png"),)
    assert config.segmentor is not None
    assert config.segmentor.variants == ("plain", "both")

"""`s2d search`: trials that share stages, stopped and gone on with, and what they tell."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as limited
from hypothesis import strategies as st
from test_cli import s2d
from tiny import Data

import shallow2deep as s2d_api
from shallow2deep.commands.search import Search, points, proposed, search
from shallow2deep.errors import InputError, Interrupted, SettingsError
from shallow2deep.runs.job import Job
from shallow2deep.settings import Span, TrainConfig, read_space, read_yaml, validated

pytest.importorskip("optuna", reason="searches are made with optuna, the extra search")

NET = {
    "network": {"features": 2, "depth": 1, "stem": 2},
    "patch": [32, 32],
    "batch": 2,
    "steps": 3,
    "validate_every": 3,
    "checkpoint_every": 2,
    "workers": 0,
    "device": "cpu",
}
SPACE: dict[str, Any] = {
    "labelled_net.learning_rate": Span(low=1e-4, high=1e-1, log=True),
    "labelled_net.network.features": [2, 3],
    "labelled_net.loss": ["dice", {"dice": 1.0, "bce": 0.5}],
}


def wanted(data: Data, strategy: Any = "tpe", trials: int = 8, space: Any = SPACE) -> Search:
    values = {
        "classes": ["background", "disc"],
        "sources": data.source_values()["sources"],
        "labelled_net": dict(NET),
    }
    return Search("train", values, space, strategy, trials)


def told(run: Path) -> dict[str, bytes]:
    names = ("trials.json", "trials.csv", "best.yaml", "parallel.png", "importance.png")
    return {name: (run / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def whole(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("search") / "run"
    search(wanted(data), run)
    return run


def test_the_best_settings_are_those_of_the_best_trial(whole: Path) -> None:
    trials = json.loads((whole / "trials.json").read_text())["trials"]
    assert len(trials) == 8
    best = max(trials, key=lambda trial: trial["score"])
    found = validated(TrainConfig, read_yaml(whole / "best.yaml"), "best")
    assert found.labelled_net.learning_rate == best["settings"]["labelled_net.learning_rate"]
    assert found.labelled_net.network.features == best["settings"]["labelled_net.network.features"]
    rows = (whole / "trials.csv").read_text().splitlines()
    assert rows[0] == f"trial,{','.join(SPACE)},score"
    assert len(rows) == 9


def test_stopped_twice_it_ends_as_the_one_that_was_not(
    data: Data, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for last in (2, 5):

        def check(job: Job, last: int = last) -> None:
            if job.run.name == f"{last:04d}":
                raise Interrupted("stopped by the test", 143)

        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(Job, "asks", lambda job, last=last: job.run.name == f"{last:04d}")
            patch.setattr(Job, "check", check)
            search(wanted(data), tmp_path / "run")
    search(wanted(data), tmp_path / "run")
    assert told(tmp_path / "run") == told(whole)


def test_more_trials_go_on_and_other_searches_are_refused(data: Data, tmp_path: Path) -> None:
    run = tmp_path / "run"
    space = {"labelled_net.learning_rate": [0.01, 0.001]}
    search(wanted(data, "grid", 1, space), run)
    first = json.loads((run / "trials.json").read_text())["trials"]
    search(wanted(data, "grid", 9, space), run)
    trials = json.loads((run / "trials.json").read_text())["trials"]
    assert trials[:1] == first
    assert [trial["settings"]["labelled_net.learning_rate"] for trial in trials] == [0.01, 0.001]
    with pytest.raises(InputError, match="holds a search of other"):
        search(wanted(data, "random", 2, space), run)
    with pytest.raises(InputError, match="holds other things"):
        search(wanted(data, "grid", 1, space), run / "trials")


def test_stages_that_are_the_same_are_made_once(data: Data, tmp_path: Path) -> None:
    values = data.source_values()
    values["enhancer"] |= {"steps": 2, "validate_every": 2}
    space: dict[str, Any] = {"enhancer.learning_rate": [0.01, 0.001]}
    run = tmp_path / "run"
    search(Search("enhancer-train", values, space, "grid", 2), run)
    one, two = (run / "trials" / name for name in ("0000", "0001"))
    assert "probabilities: as in" in (two / "log.txt").read_text()
    for stage in ("forests", "probabilities"):
        manifests = [(place / stage / "manifest.json") for place in (one, two)]
        assert manifests[0].samefile(manifests[1])
    weights = [(place / "enhancer" / "weights.safetensors").read_bytes() for place in (one, two)]
    assert weights[0] != weights[1]
    alone = data.source(enhancer=values["enhancer"] | {"learning_rate": 0.001})
    s2d_api.enhancer_train(alone, tmp_path / "alone")
    assert (tmp_path / "alone" / "enhancer" / "weights.safetensors").read_bytes() == weights[1]


@limited(max_examples=12)
@given(number=st.integers(0, 6), seed=st.integers(0, 3), strategy=st.sampled_from(["tpe", "random"]))
def test_proposals_are_in_the_space_and_depend_on_what_was_before_alone(
    number: int, seed: int, strategy: Any
) -> None:
    before = [
        {"settings": {n: v.low if isinstance(v, Span) else v[0] for n, v in SPACE.items()}, "score": n / 10}
        for n in range(number)
    ]
    one = Search("train", {}, SPACE, strategy, 8, seed)
    found = proposed(one, before, number)
    assert found == proposed(one, [*before, {"settings": {}, "score": None}], number)
    assert 1e-4 <= found["labelled_net.learning_rate"] <= 1e-1
    assert found["labelled_net.loss"] in SPACE["labelled_net.loss"]


@given(low=st.integers(-5, 5), count=st.integers(1, 9), step=st.integers(1, 3))
def test_points_of_a_span(low: int, count: int, step: int) -> None:
    found = points(Span(low=low, high=low + count * step, step=step))
    assert found == list(range(low, low + count * step + 1, step))


@pytest.mark.parametrize(("low", "high"), [(0, 0.3), (0.1, 0.3), (0, 0.7)])
def test_points_of_a_span_of_other_numbers_end_within_it(low: float, high: float) -> None:
    found = points(Span(low=low, high=high, step=0.1))
    assert found[-1] == high
    assert len(found) == round((high - low) / 0.1) + 1


def test_trials_that_fail_are_noted_and_passed_over(data: Data, tmp_path: Path) -> None:
    """A patch of 40 pixels is no multiple of what three poolings behind a stem of 2 need."""
    run = tmp_path / "run"
    one = wanted(data, "grid", 3, {"labelled_net.network.depth": [1, 3, 2]})
    one.values["labelled_net"].update(patch=[40, 40])
    search(one, run)
    trials = json.loads((run / "trials.json").read_text())["trials"]
    assert [trial["score"] is None for trial in trials] == [False, True, False]
    assert "does not divide" in trials[1]["failed"]
    assert read_yaml(run / "best.yaml")["labelled_net"]["network"]["depth"] != 3
    before = told(run)
    search(one, run)
    assert told(run) == before


def test_nothing_that_works_is_said(data: Data, tmp_path: Path) -> None:
    one = wanted(data, "grid", 1, {"labelled_net.patch": [[33, 33]]})
    with pytest.raises(InputError, match=r"no trial could be scored; the first: .*patch"):
        search(one, tmp_path / "run")


def test_names_in_a_space_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "space.yaml").write_text("enhancer.weights: [before, nuclei-2d]")
    assert read_space(tmp_path / "space.yaml") == {
        "enhancer.weights": [str(tmp_path / "before"), "nuclei-2d"]
    }


def test_bad_input_is_refused_before_work(data: Data, tmp_path: Path) -> None:
    def attempt(space: Any, strategy: Any = "tpe") -> None:
        search(wanted(data, strategy, 2, space), tmp_path / "run")

    with pytest.raises(SettingsError, match=r'unknown setting "labelled_net\.learnig_rate"'):
        attempt({"labelled_net.learnig_rate": [1.0]})
    with pytest.raises(SettingsError, match="greater than 0"):
        attempt({"labelled_net.learning_rate": [0.1, -1.0]})
    with pytest.raises(SettingsError, match="a grid needs a step"):
        attempt({"labelled_net.learning_rate": Span(low=0.1, high=0.2)}, "grid")
    with pytest.raises(InputError, match="give random, grid, tpe"):
        attempt({"seed": [1]}, "best")
    (tmp_path / "space.yaml").write_text("labelled_net.learning_rate: {low: 2, high: 1}")
    with pytest.raises(SettingsError, match="low is not below high"):
        read_space(tmp_path / "space.yaml")
    assert not (tmp_path / "run").exists()


def test_from_the_command_line(data: Data, tmp_path: Path) -> None:
    one = wanted(data)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(dict(one.values)))
    (tmp_path / "space.yaml").write_text("labelled_net.learning_rate: {low: 0.001, high: 0.01, log: true}\n")
    found = s2d(
        "search", tmp_path / "train.yaml", "--command", "train", "--space", tmp_path / "space.yaml",
        "--strategy", "random", "--trials", "2", "--run", tmp_path / "run",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "best settings:" in found.stdout
    assert s2d("train", tmp_path / "run" / "best.yaml", "--run", tmp_path / "best").returncode == 0

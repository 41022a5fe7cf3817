"""Segmentors in their variants, and the baselines' networks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny import VARIANTS, Data, artifacts

from shallow2deep import adapt, predict
from shallow2deep.commands.status import status
from shallow2deep.errors import InputError, Interrupted, SettingsError
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import load_model
from shallow2deep.runs.job import Job
from shallow2deep.settings import AdaptConfig, validated


def test_variants_differ(whole: Path) -> None:
    maps = [open_volume(whole / f"segmentor-{v}" / "target0_raw.h5").read() for v in VARIANTS]
    for n, p in enumerate(maps):
        for q in maps[n + 1 :]:
            assert not np.array_equal(p, q)


def test_segmentor_holds_its_normalisation_and_predicts_further_images(
    whole: Path, data: Data, tmp_path: Path
) -> None:
    _, spec = load_model(whole / "segmentor-plain")
    raws = [open_volume(f"{data.folder}/target{n}_raw.png").read().astype(float) for n in range(4)]
    assert spec.normalisation == pytest.approx((np.mean(raws), np.std(raws)))
    raw = f"{data.folder}/target1_raw.png"
    expected = open_volume(whole / "segmentor-plain" / "target1_raw.h5").read()
    for n, (model, step) in enumerate(
        [(whole, "segmentor"), (whole, "segmentor-plain"), (whole / "segmentor-plain", "recommended")]
    ):
        found = predict(model, raw, tmp_path / f"{n}.h5", step)
        np.testing.assert_array_equal(open_volume(found[0]).read(), expected)
    recommended = predict(whole, raw, tmp_path / "r.h5")
    np.testing.assert_array_equal(
        open_volume(recommended[0]).read(), open_volume(whole / "prediction" / "target1_raw.h5").read()
    )
    with pytest.raises(InputError, match="none of its results"):
        predict(whole, raw, tmp_path / "x.h5", "segmenter")


def test_everything_is_finished_and_run_again_does_nothing(whole: Path, data: Data, source_run: Path) -> None:
    assert {s.word for s in status(whole).stages.values()} == {"finished"}
    before = artifacts(whole)
    adapt(data.with_segmentor(source_run, compared=True, variants=VARIANTS, rounds=2), whole)
    assert artifacts(whole) == before


@pytest.mark.parametrize(
    ("stage", "stops", "variant"),
    [
        ("pseudo_labels", 2, "both"),
        ("segmentor", 1, "plain"),
        ("segmentor", 8, "both"),
        *(
            pytest.param(stage, stops, variant, marks=pytest.mark.slow)
            for stage, stops, variant in (
                ("enhanced", 2, "plain"),
                ("enhanced", 2, "both"),
                ("pseudo_labels", 2, "plain"),
                ("segmentor", 1, "both"),
                ("segmentor", 8, "plain"),
            )
        ),
    ],
)
def test_stopped_anywhere_it_ends_with_the_same_bytes(
    whole: Path,
    data: Data,
    source_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    stops: int,
    variant: str,
) -> None:
    """In the middle of a stage's images, of a training, or of the maps after it."""
    asked = 0

    def stop_after_a_while(job: Job) -> bool:
        nonlocal asked
        asked += job.folder.name.startswith(stage)
        return asked > stops

    def check(job: Job) -> None:
        if stop_after_a_while(job):
            raise Interrupted("stopped by test", 15)

    config = data.with_segmentor(source_run, variants=[variant])
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(Job, "asks", stop_after_a_while)
        patched.setattr(Job, "check", check)
        adapt(config, tmp_path / "run")
    states = {name: state.word for name, state in status(tmp_path / "run").stages.items()}
    assert [name for name, word in states.items() if word == "interrupted"] == [
        f"segmentor-{variant}" if stage == "segmentor" else stage
    ]
    adapt(config, tmp_path / "run")
    for name in ("pseudo_labels", f"segmentor-{variant}"):
        ours = artifacts(tmp_path / "run" / name)
        theirs = artifacts(whole / name)
        assert ours.keys() == theirs.keys()
        assert {n for n in ours if ours[n] != theirs[n]} <= {"manifest.json"}


def test_starting_weights(whole: Path, data: Data, source_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    adapt(data.with_segmentor(source_run, weights=str(whole / "supervised")), run)
    changed = open_volume(run / "segmentor-plain" / "target0_raw.h5").read()
    assert not np.array_equal(changed, open_volume(whole / "segmentor-plain" / "target0_raw.h5").read())
    with pytest.raises(InputError, match="no trained network here"):
        adapt(data.with_segmentor(source_run, weights=str(data.folder)), tmp_path / "other")


def test_bad_settings_are_refused_before_work(data: Data, source_run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not divide"):
        adapt(data.with_segmentor(source_run, patch=[30, 30]), tmp_path / "a")
    with pytest.raises(SettingsError, match="variants"):
        adapt(data.with_segmentor(source_run, variants=["best"]), tmp_path / "a")
    without = shutil.copytree(source_run / "enhancer", tmp_path / "enhancer")
    found = data.segmentor_values(without) | {"compare": {"source_net": True}}
    with pytest.raises(InputError, match="with-source-net"):
        adapt(validated(AdaptConfig, found, "test"), tmp_path / "a")
    found = data.target_values(source_run, compare={"supervised": True})
    with pytest.raises(SettingsError, match=r"target\.labels"):
        validated(AdaptConfig, found, "test")
    assert not (tmp_path / "a").exists()

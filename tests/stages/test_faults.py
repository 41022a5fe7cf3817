"""What once went wrong without a word: targets of another class, training on NaN, stale runs, lost copies."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import psutil
import pytest
import torch
import yaml
import zarr
from tiny import SEGMENTOR, SIZE, Data

from shallow2deep import adapt, enhancer_train, export, load_enhancer, predict, status
from shallow2deep.errors import InputError, NotFiniteError, TooLittleMemoryError
from shallow2deep.forests import Forest
from shallow2deep.io.map_files import read_map, write_probabilities
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import load_spec
from shallow2deep.outputs import BOUNDARY, Output
from shallow2deep.settings import EnhancerTrainConfig, validated
from shallow2deep.training.samples import ValidationSamples


def words(run: Path) -> dict[str, str]:
    return {name: state.word for name, state in status(run).stages.items()}


def test_boundaries_are_those_of_the_class(data: Data, tmp_path: Path) -> None:
    """Two classes far apart: of each, the boundaries of its own instances and no other."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[10:30, 10:30], labels[60:80, 60:80] = 1, 2
    for n in range(2):
        iio.imwrite(tmp_path / f"image{n}_raw.png", (labels * 60 + n).astype(np.uint8))
        iio.imwrite(tmp_path / f"image{n}_labels.png", labels)
    values = data.source_values(
        classes=["background", "one", "two"],
        sources=[
            {
                "raw": f"{tmp_path}/*_raw.png",
                "labels": f"{tmp_path}/*_labels.png",
                "label_values": "classes",
            }
        ],
    )
    values["probabilities"] |= {"patch": [SIZE, SIZE], "patches": 1, "validation_patches": 1}
    values["enhancer"] |= {"boundary": True, "steps": 2}
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "run")
    pool = tmp_path / "run" / "probabilities" / "pool.zarr"
    roles = (Output(None), Output(None, BOUNDARY))
    samples = ValidationSamples(pool, "validation", roles, ("map",), range(1), (8, 8))
    for number, first in ((1, 10), (2, 60)):
        _, (member, boundary) = samples[number - 1]
        assert np.array_equal(member.numpy(), labels == number)
        outline = np.argwhere(boundary.numpy())
        assert len(outline) > 100
        assert (outline.min(), outline.max()) == (first - 1, first + 20)


def test_training_on_what_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    data: Data, source_run: Path, tmp_path: Path
) -> None:
    segmentor = SEGMENTOR | {"variants": ["plain"], "learning_rate": 1e30, "confidence": {"use": "none"}}
    run = tmp_path / "run"
    with pytest.raises(
        NotFiniteError, match=r"at step \d+ of training; lower learning_rate, which is 1e\+30"
    ):
        adapt(data.target(source_run, segmentor=segmentor), run)
    assert words(run)["segmentor-plain"] == "interrupted"
    assert not list((run / "segmentor-plain").glob("*.h5"))
    for path in (run / "segmentor-plain" / "checkpoints").glob("*.pt"):
        weights = torch.load(path, weights_only=True)["network"]
        assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_map_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    p = np.full((1, 4, 4), 0.5, np.float32)
    write_probabilities(tmp_path / "p.h5", p, [Output("disc")])
    for value in (np.nan, np.inf):
        with pytest.raises(NotFiniteError):
            write_probabilities(tmp_path / "p.h5", np.full_like(p, value), [Output("disc")])
    assert np.array_equal(read_map(tmp_path / "p.h5")[0], p)


@pytest.fixture
def copied(data: Data, source_run: Path, target_run: Path, tmp_path: Path) -> tuple[Path, Data, Path]:
    """A finished adaptation of data and an enhancer of its own, which may be changed: run, data, enhancer."""
    own = Data(Path(shutil.copytree(data.folder, tmp_path / "data")))
    enhancer = shutil.copytree(source_run, tmp_path / "source")
    shutil.copytree(target_run, tmp_path / "run")
    adapt(own.target(enhancer), tmp_path / "run")  # little: the same content under other names
    return tmp_path / "run", own, enhancer


def test_a_stale_run_predicts_nothing(copied: tuple[Path, Data, Path], tmp_path: Path) -> None:
    run, own, _ = copied
    raw = f"{own.folder}/target0_raw.png"
    predict(run, raw, tmp_path / "before", "enhanced")
    strokes = iio.imread(own.folder / "target1_strokes.png")
    strokes[50:52, 10:30] = 2
    iio.imwrite(own.folder / "target1_strokes.png", strokes)
    assert words(run)["target_forest"] == "stale"
    for step in ("forest", "enhanced", "recommended"):
        with pytest.raises(InputError, match=r"target_forest is stale \(inputs.strokes .*run the same adapt"):
            predict(run, raw, tmp_path / step, step)
        assert not (tmp_path / step).exists()


def test_a_changed_setting_makes_predictions_stale_too(
    copied: tuple[Path, Data, Path], tmp_path: Path
) -> None:
    run, own, _ = copied
    settings = yaml.safe_load((run / "settings.yaml").read_text())
    settings["enhanced"]["scales"] = [1.0]
    (run / "settings.yaml").write_text(yaml.safe_dump(settings))
    raw = f"{own.folder}/target0_raw.png"
    predict(run, raw, tmp_path / "forest", "forest")  # it does not depend on scales
    with pytest.raises(InputError, match="enhanced is stale"):
        predict(run, raw, tmp_path / "enhanced", "enhanced")


def test_a_run_predicts_without_its_data_unless_its_stages_do_not_fit(
    copied: tuple[Path, Data, Path], tmp_path: Path
) -> None:
    run, own, _ = copied
    raw = shutil.copy(own.folder / "target0_raw.png", tmp_path / "new.png")
    shutil.rmtree(own.folder)
    predict(run, raw, tmp_path / "out", "enhanced")
    manifest = json.loads((run / "target_forest" / "manifest.json").read_text())
    (run / "target_forest" / "manifest.json").write_text(json.dumps(manifest | {"key": "another"}))
    with pytest.raises(InputError, match="enhanced was made from another target_forest"):
        predict(run, raw, tmp_path / "other", "enhanced")


def test_damaged_artifacts_predict_nothing(copied: tuple[Path, Data, Path], tmp_path: Path) -> None:
    run, own, _ = copied
    path = run / "enhancer" / "weights.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 0x40
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="missing or differs"):
        predict(run, f"{own.folder}/target0_raw.png", tmp_path / "out", "enhanced")


def test_name_and_terms_are_told_anew_without_training_anew(
    data: Data, source_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(source_run, tmp_path / "source")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    forests = {path: path.read_bytes() for path in (run / "forests").glob("*.npz")}
    sources = [dict(data.source_values()["sources"][0], licence="CC-BY-4.0, by Somebody")]
    package = {"authors": [{"name": "Somebody"}], "licence": "CC-BY-4.0"}
    changed = data.source(
        name="renamed", sources=sources, package=package, source_net=data.source_values()["enhancer"]
    )
    enhancer_train(changed, run)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path: path.read_bytes() for path in forests} == forests
    said = {"name": "renamed", "data_licences": ["CC-BY-4.0, by Somebody"]}
    for network in ("enhancer", "source_net"):
        assert load_spec(run / network).metadata == said
    assert load_enhancer(run)[1].metadata == said
    assert set(words(run).values()) == {"finished"}


def test_a_run_goes_on_with_its_own_copy_of_the_enhancer(
    copied: tuple[Path, Data, Path], tmp_path: Path
) -> None:
    """Gone or replaced: adapt again, status, more stages and export take the copy."""
    run, own, enhancer = copied
    maps = {path.name: path.read_bytes() for path in (run / "enhanced").glob("*.h5")}
    shutil.rmtree(enhancer)
    assert set(words(run).values()) == {"finished"}
    segmentor = SEGMENTOR | {"variants": ["plain"], "confidence": {"use": "none"}}
    adapt(own.target(enhancer, segmentor=segmentor), run)
    assert {path.name: path.read_bytes() for path in (run / "enhanced").glob("*.h5")} == maps
    package = ["package.authors=[{name: Somebody}]", "package.licence=CC0-1.0"]
    export(run, tmp_path / "segmentor.zip", overrides=package)
    assert load_spec(run / "segmentor-plain").metadata["data_licences"] == ["CC0 for tests"]


def test_a_replaced_enhancer_does_not_change_a_run(
    copied: tuple[Path, Data, Path], caplog: pytest.LogCaptureFixture
) -> None:
    run, own, enhancer = copied
    maps = {path.name: path.read_bytes() for path in (run / "enhanced").glob("*.h5")}
    network, spec = load_enhancer(enhancer)
    from shallow2deep.networks.model import save_model

    for parameter in network.parameters():
        parameter.data.mul_(0.5)
    save_model(enhancer / "enhancer", network, replace(spec, metadata={}))
    assert set(words(run).values()) == {"finished"}
    adapt(own.target(enhancer), run)
    assert "the run's own copy counts" in caplog.text
    adapt(own.target(enhancer, enhanced={"device": "cpu", "scales": [0.7]}), run)
    adapt(own.target(enhancer), run)
    assert {path.name: path.read_bytes() for path in (run / "enhanced").glob("*.h5")} == maps


def test_a_source_net_goes_on_from_the_runs_own_copy(data: Data, source_run: Path, tmp_path: Path) -> None:
    enhancer = shutil.copytree(source_run, tmp_path / "source")
    config = data.target(enhancer, compare={"source_net": True})
    adapt(config, tmp_path / "run")
    shutil.rmtree(enhancer)
    adapt(config, tmp_path / "run")
    assert set(words(tmp_path / "run").values()) == {"finished"}
    raw = f"{data.folder}/target0_raw.png"
    out = predict(tmp_path / "run", raw, tmp_path / "p.h5", "source_net")
    expected = open_volume(tmp_path / "run" / "source_net" / "target0_raw.h5").read()
    assert np.array_equal(open_volume(out[0]).read(), expected)


def test_only_networks_of_their_own_are_exported(data: Data, source_run: Path, tmp_path: Path) -> None:
    adapt(data.target(source_run, compare={"source_net": True}), tmp_path / "run")
    for step in ("source_net", "target_forest", "nothing"):
        with pytest.raises(InputError, match=f"{step} is no network to export; give one of enhanced"):
            export(tmp_path / "run", tmp_path / "x.zip", step=step, overrides=["package.licence=CC0-1.0"])


def test_too_little_memory_is_no_damage(
    source_run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = source_run / "forests" / "forest_0000.npz"
    little = psutil.virtual_memory()._replace(available=10)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(TooLittleMemoryError, match="memory"):
        Forest.load(path)
    monkeypatch.undo()

    def no_memory(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "frombuffer", no_memory)
    with pytest.raises(TooLittleMemoryError, match="memory"):
        Forest.load(path)


def test_importing_pictures_leaves_matplotlib_alone() -> None:
    code = (
        "import matplotlib; matplotlib.use('svg')\n"
        "import shallow2deep.evaluation.pictures, shallow2deep.evaluation.page, sys\n"
        "print(matplotlib.get_backend(), 'matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["svg", "False"]


def test_the_report_is_made_under_the_runs_lock_and_made_again_if_it_is_lost(
    copied: tuple[Path, Data, Path],
) -> None:
    run, own, enhancer = copied
    page = (run / "report.html").read_bytes()
    assert (run / "report" / "report.html").read_bytes() == page
    (run / "report.html").unlink()
    adapt(own.target(enhancer), run)
    assert (run / "report.html").read_bytes() == page
    (run / "report" / "panels.png").unlink()
    assert words(run)["report"] == "stale"
    adapt(own.target(enhancer), run)
    assert (run / "report" / "panels.png").is_file()


def test_judging_holds_one_image_at_a_time(
    data: Data, source_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dense labels, too: of the maps of earlier images nothing is left but counts."""
    import gc
    import weakref

    from shallow2deep.stages import prediction

    alive: list[weakref.ref] = []
    counts: list[int] = []
    original = prediction.read_map

    def watched(path: Path) -> tuple[np.ndarray, tuple[Output, ...]]:
        gc.collect()
        counts.append(sum(one() is not None for one in alive))
        p, outputs = original(path)
        p = p.view()
        alive.append(weakref.ref(p))
        return p, outputs

    monkeypatch.setattr(prediction, "read_map", watched)
    target = {
        "raw": f"{data.folder}/target*_raw.png",
        "strokes": f"{data.folder}/target*_strokes.png",
        "labels": f"{data.folder}/target*_labels.png",
    }
    adapt(data.target(source_run, target=target), tmp_path / "run")
    assert len(counts) == 8  # two candidates, four images
    assert max(counts) <= 2
    choice = json.loads((tmp_path / "run" / "prediction" / "choice.json").read_text())
    assert set(choice["dice_on_labels"]) == {"target_forest", "enhanced"}
    for name, dice in choice["dice_on_labels"].items():
        found = truth = both = 0
        for n in range(4):
            p = open_volume(tmp_path / "run" / name / f"target{n}_raw.h5").read()[1] > 0.5
            t = iio.imread(data.folder / f"target{n}_labels.png") > 0
            found, truth, both = found + p.sum(), truth + t.sum(), both + (p & t).sum()
        assert dice == pytest.approx(2 * both / (found + truth), abs=1e-6)


def test_pools_hold_a_boundary_channel_for_each_class(source_run: Path) -> None:
    pool = zarr.open_group(source_run / "probabilities" / "pool.zarr", mode="r")
    assert pool["training/boundaries"].shape == (6, 1, 64, 64)  # type: ignore[union-attr]

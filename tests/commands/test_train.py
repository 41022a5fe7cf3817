"""`s2d train`: one network on labelled images, that goes on where it stopped, predicts, and is exported."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from balls import save_volumes
from command_line import s2d
from tiny import PACKAGE, Data, artifacts

import shallow2deep as s2d_api
from shallow2deep.errors import InputError, Interrupted, SettingsError
from shallow2deep.inputs.labelled_images import LABELLED_NET, open_labelled
from shallow2deep.networks.model import load_model
from shallow2deep.outputs import IGNORED
from shallow2deep.runs.job import Job
from shallow2deep.settings import TrainConfig, validated
from shallow2deep.stages.labelled_net import LabelledSamples, LabelledWindows

NET = {
    "network": {"features": 4, "depth": 2, "stem": 1},
    "patch": [32, 32],
    "batch": 2,
    "steps": 8,
    "validate_every": 4,
    "checkpoint_every": 2,
    "workers": 0,
    "device": "cpu",
}


def config(data: Data, **changes: Any) -> TrainConfig:
    values = {
        "classes": ["background", "disc"],
        "sources": data.source_values()["sources"],
        "outputs": ["foreground", "boundary"],
        "labelled_net": NET,
    }
    return validated(TrainConfig, values | changes, "test")


@pytest.fixture(scope="module")
def run(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "run"
    assert s2d_api.train(config(data), folder) == folder / LABELLED_NET
    return folder


def test_the_network_predicts_both_outputs(data: Data, run: Path, tmp_path: Path) -> None:
    found = s2d("predict", run, "--raw", data.folder / "source0_raw.png", "--out", tmp_path / "p.h5")
    assert found.returncode == 0, found.stderr
    with h5py.File(tmp_path / "p.h5") as file:
        p = file["exported_data"][()]
    assert p.shape == (3, 96, 96)
    _, spec = load_model(run / LABELLED_NET)
    assert [output.title for output in spec.outputs] == ["disc", "disc boundary"]
    assert spec.record["channels"] == "grey"
    status = s2d("status", run)
    assert "train, finished" in status.stdout


def test_it_goes_on_where_it_stopped_and_ends_with_the_same_bytes(
    data: Data, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(job: Job) -> None:
        raise Interrupted("stopped by the test", 143)

    with monkeypatch.context() as patch:
        patch.setattr(
            Job, "asks", lambda job: job.folder.joinpath("checkpoints", "step_000000004.pt").exists()
        )
        patch.setattr(Job, "check", stop)
        with pytest.raises(Interrupted):
            s2d_api.train(config(data), tmp_path / "run")
    assert not (tmp_path / "run" / LABELLED_NET / "model.json").exists()
    s2d_api.train(config(data, labelled_net=NET | {"workers": 1}), tmp_path / "run")
    assert artifacts(tmp_path / "run") == artifacts(run)


@pytest.mark.slow
def test_its_package_is_tested_and_taken(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("bioimageio.core", reason="packages are tested by bioimageio.core, the extra export")
    with pytest.raises(InputError, match=r"package\.authors is missing"):
        s2d_api.export(run, tmp_path / "none.zip")
    path = s2d_api.export(run, tmp_path / "net.zip", overrides=PACKAGE)
    from shallow2deep.exports.packages import load_package

    _, spec = load_package(path)
    assert spec.kind == "segmentor"
    assert spec.normalisation == load_model(run / LABELLED_NET)[1].normalisation


def test_samples_are_raw_and_what_the_labels_say(data: Data) -> None:
    settings, images = open_labelled(config(data))
    spec = images.spec(settings)
    samples = LabelledSamples(images.training, images.moments, spec.outputs, (32, 48), 9, 5)
    raw, truth = samples[3]
    assert (raw.shape, truth.shape) == ((1, 32, 48), (2, 32, 48))
    assert all((a == b).all() for a, b in zip(samples[3], samples[3], strict=True))
    assert not (samples[4][0] == raw).all()
    chosen = LabelledSamples(images.training, images.moments, spec.outputs, (8, 8), 40, 5, foreground=1.0)
    anywhere = LabelledSamples(images.training, images.moments, spec.outputs, (8, 8), 40, 5)
    assert all((chosen[n][1][0] == 1).any() for n in range(40))
    assert not all((anywhere[n][1][0] == 1).any() for n in range(40))
    whole = np.stack([image.raw.read() for image in images.training])
    assert images.moments.mean == pytest.approx(whole.mean())
    assert images.moments.deviation == pytest.approx(whole.std())
    windows = LabelledWindows(images.validation, images.moments, spec.outputs, (32, 32))
    assert len(windows) == 9 * len(images.validation)
    first = images.validation[0]
    np.testing.assert_array_equal(windows[0][1][0], first.labels.read()[:32, :32] > 0)
    boundary, inside = windows[0][1][1] == 1, windows[0][1][0] == 1
    assert boundary.any()
    assert (boundary & ~inside).any()  # thick: on both sides


def test_pixels_that_do_not_count(data: Data) -> None:
    sources = [data.source_values()["sources"][0] | {"ignore_label": 1}]
    settings, images = open_labelled(config(data, sources=sources))
    windows = LabelledWindows(images.validation, images.moments, images.spec(settings).outputs, (96, 96))
    _, truth = windows[0]
    labels = images.validation[0].labels.read()
    assert ((truth[0] == IGNORED).numpy() == (labels == 1)).all()
    assert (truth[1] == IGNORED).sum() > (labels == 1).sum()


def test_volumes_and_images_to_validate_on(tmp_path: Path) -> None:
    folder = save_volumes(tmp_path)
    names = [{"raw": f"{folder}/source{n}.h5:raw", "labels": f"{folder}/source{n}.h5:labels"} for n in (0, 1)]
    net = {key: value for key, value in NET.items() if key != "patch"} | {"steps": 2, "validate_every": 2}
    values = {
        "ndim": 3,
        "sources": names[:1],
        "validation_sources": names[1:],
        "labelled_net": net | {"network": {"features": 2, "depth": 1}},
    }
    s2d_api.train(validated(TrainConfig, values, "test"), tmp_path / "run")
    _, spec = load_model(tmp_path / "run" / LABELLED_NET)
    assert spec.ndim == 3
    assert spec.record["settings"][LABELLED_NET]["patch"] == [16, 40, 40]
    (path,) = s2d_api.predict(tmp_path / "run", f"{folder}/target.h5:raw", tmp_path / "p.h5")
    with h5py.File(path) as file:
        assert file["exported_data"].shape == (2, 16, 40, 48)


def test_settings_that_are_refused(data: Data, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has 3 axes but ndim is 2"):
        config(data, labelled_net=NET | {"patch": [8, 8, 8]})
    with pytest.raises(SettingsError, match="networks in 3D have none"):
        config(data, ndim=3, labelled_net={"network": {"stem": 2}})
    with pytest.raises(SettingsError, match="does not divide by 4"):
        s2d_api.train(config(data, labelled_net=NET | {"patch": [30, 30]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="no run of adapt or train"):
        s2d_api.predict(tmp_path, data.folder / "source0_raw.png", tmp_path / "p.h5")

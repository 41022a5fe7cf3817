"""`s2d pretrain`: a network trained without labels, that goes on where it stopped, and others start from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from balls import save_volumes
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio
from test_cli import s2d
from tiny import Data, artifacts

import shallow2deep as s2d_api
from shallow2deep.commands.status import status
from shallow2deep.errors import InputError, Interrupted, SettingsError
from shallow2deep.inputs.unlabelled_images import open_unlabelled
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import load_model, load_spec
from shallow2deep.runs.job import Job
from shallow2deep.settings import HidingSettings, PretrainConfig, TrainConfig, validated
from shallow2deep.stages.pretrained_net import cell_of
from shallow2deep.training.restoring import hidden_cells, hide, restored_well

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


def config(data: Data, task: str = "masking", **changes: Any) -> PretrainConfig:
    values = {
        "images": [{"raw": f"{data.folder}/source*_raw.png", "licence": "CC0 for tests"}],
        "hiding": {"task": task, "cell": 8},
        "pretrained_net": NET,
    }
    return validated(PretrainConfig, values | changes, "test")


@pytest.fixture(scope="module")
def run(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain") / "run"
    assert s2d_api.pretrain(config(data), folder) == folder / "pretrained_net"
    return folder


def test_it_leaves_checks_charts_and_a_table(data: Data, run: Path) -> None:
    net = run / "pretrained_net"
    (check,) = (net / "checks").glob("*.tif")
    original, given_, restored, shown = open_volume(str(check)).read()
    hidden = (given_ == 0) & (original != 0)
    assert 0.4 < hidden.mean() < 0.6
    np.testing.assert_array_equal(given_[~hidden], original[~hidden])
    np.testing.assert_array_equal(shown, np.where(hidden | (original == 0), restored, original))
    lines = (net / "tensorboard" / "validations.csv").read_text().splitlines()
    assert lines[0] == "step,loss,psnr,psnr_before,ssim"
    assert [line.split(",")[0] for line in lines[1:]] == ["4", "8"]
    assert {path.stem for path in (net / "tensorboard").glob("*.png")} >= {
        "loss",
        "psnr",
        "ssim",
        "validation",
    }
    assert load_spec(net).metadata["data_licences"] == ["CC0 for tests"]
    assert status(run).word == "finished"


@pytest.mark.parametrize("task", ["masking", "denoise"])
def test_it_goes_on_where_it_stopped_and_ends_with_the_same_bytes(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    def stop(job: Job) -> None:
        raise Interrupted("stopped by the test", 143)

    s2d_api.pretrain(config(data, task), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(
            Job, "asks", lambda job: job.folder.joinpath("checkpoints", "step_000000006.pt").exists()
        )
        patch.setattr(Job, "check", stop)
        with pytest.raises(Interrupted):
            s2d_api.pretrain(config(data, task), tmp_path / "run")
    s2d_api.pretrain(config(data, task, pretrained_net=NET | {"workers": 1}), tmp_path / "run")
    assert artifacts(tmp_path / "run") == artifacts(tmp_path / "whole")
    tables = [
        tmp_path / name / "pretrained_net" / "tensorboard" / "validations.csv" for name in ("run", "whole")
    ]
    assert tables[0].read_text() == tables[1].read_text()


def test_it_learns_to_restore(data: Data, tmp_path: Path) -> None:
    """Better than what it was given, after a few more steps."""
    net = NET | {"steps": 80, "validate_every": 80, "batch": 4, "learning_rate": 0.01}
    s2d_api.pretrain(config(data, pretrained_net=net), tmp_path / "run")
    table = (tmp_path / "run" / "pretrained_net" / "tensorboard" / "validations.csv").read_text().splitlines()
    values = dict(zip(table[0].split(","), map(float, table[-1].split(",")), strict=True))
    assert values["psnr"] > values["psnr_before"] + 0.5


def test_a_labelled_net_starts_from_it(data: Data, run: Path, tmp_path: Path) -> None:
    values = {
        "classes": ["background", "disc"],
        "sources": data.source_values()["sources"],
        "labelled_net": NET | {"steps": 1, "weights": str(run)},
    }
    s2d_api.train(validated(TrainConfig, values, "test"), tmp_path / "run")
    layers = {name.rpartition(".")[0] for name in load_model(run / "pretrained_net")[0].state_dict()}
    assert load_spec(tmp_path / "run" / "labelled_net").record["start"] == {
        "kind": "pretrained_net",
        "name": "pretrained",
        "taken": len(layers),
        "from_scratch": [],
    }


def test_volumes(tmp_path: Path) -> None:
    folder = save_volumes(tmp_path)
    net = {key: value for key, value in NET.items() if key != "patch"} | {"steps": 2, "validate_every": 2}
    values = {
        "ndim": 3,
        "images": [{"raw": f"{folder}/source0.h5:raw"}],
        "validation_images": [{"raw": f"{folder}/source1.h5:raw"}],
        "pretrained_net": net | {"network": {"features": 2, "depth": 1}},
    }
    settings, images = open_unlabelled(validated(PretrainConfig, values, "test"))
    cell = cell_of(settings.hiding, images.spec(settings), images.shape)
    assert max(cell) == 16
    s2d_api.pretrain(settings, tmp_path / "run")
    (check,) = (tmp_path / "run" / "pretrained_net" / "checks").glob("*.tif")
    assert open_volume(str(check)).read().shape[0] == 4


@given(share=st.floats(0.05, 0.95), side=st.integers(1, 9), seed=st.integers(0, 9))
def test_cells_of_a_grid_are_hidden(share: float, side: int, seed: int) -> None:
    images = torch.ones(2, 1, 20, 27)
    hidden = hidden_cells(images, (side, side), share, torch.Generator().manual_seed(seed))
    assert hidden.shape == images.shape
    of_cells = hidden[..., ::side, ::side].flatten(1).sum(1)
    count = hidden[0, 0, ::side, ::side].numel()
    assert (of_cells == min(max(round(share * count), 1), count - 1)).all()
    y, x = (torch.arange(n) // side * side for n in (20, 27))
    assert torch.equal(hidden, hidden[..., y, :][..., x])  # each cell as its first pixel


@given(factor=st.integers(1, 4), seed=st.integers(0, 9))
def test_worse_images_keep_their_size_and_their_mean(factor: int, seed: int) -> None:
    images = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    settings = HidingSettings(task="denoise", downsampling=factor, noise=0)
    worse, weight = hide(images, settings, (1, 1), torch.Generator().manual_seed(seed))
    assert worse.shape == images.shape
    assert (weight == 1).all()
    torch.testing.assert_close(worse.mean((2, 3)), images.mean((2, 3)), atol=0.05, rtol=0)


def test_psnr_is_that_of_the_pixels_that_count() -> None:
    rng = np.random.default_rng(0)
    truth, found = (torch.from_numpy(rng.random((1, 9, 9), np.float32)) for _ in range(2))
    weight = torch.zeros(1, 9, 9)
    weight[:, :4] = 1
    samples = [(truth * (1 - weight), torch.cat([truth, weight]))]
    judged = restored_well(lambda inputs: found[None], samples, 1)  # type: ignore[arg-type]
    span = float(truth.max() - truth.min())
    expected = peak_signal_noise_ratio(truth[:, :4].numpy(), found[:, :4].numpy(), data_range=span)
    assert judged.scores["psnr"] == pytest.approx(expected)
    assert judged.score == max(judged.scores["psnr"], 0)


def test_bad_settings_are_refused_before_work(data: Data, run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"checks shows what is restored"):
        config(data, pretrained_net=NET | {"previews": ["a.png"]})
    with pytest.raises(SettingsError, match="has 3 axes but ndim is 2"):
        config(data, pretrained_net=NET | {"patch": [8, 8, 8]})
    with pytest.raises(SettingsError, match="on one channel"):
        config(data, images=[{"raw": "a.png", "channels": "each"}])
    with pytest.raises(InputError, match="only restores images"):
        s2d_api.predict(run / "pretrained_net", data.folder / "source0_raw.png", tmp_path / "p.h5")
    with pytest.raises(InputError, match="restores images"):
        s2d_api.export(run, tmp_path / "p.zip")


def test_from_the_command_line(data: Data, tmp_path: Path) -> None:
    settings = [f"pretrained_net.{k}={v}" for k, v in NET.items() if k not in ("network", "steps")]
    settings += ["pretrained_net.steps=2", "pretrained_net.network={features: 2, depth: 1}"]
    sets = [word for one in settings for word in ("--set", one)]
    command = (
        "pretrain",
        "--raw",
        data.folder / "source*_raw.png",
        "--task",
        "denoise",
        "--run",
        tmp_path / "r",
    )
    found = s2d(*command, *sets)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "r" / "pretrained_net" / "checks").is_dir()
    refused = s2d("pretrain", "--raw", tmp_path / "none.png", "--run", tmp_path / "other")
    assert refused.returncode == 2
    assert "there is no such file" in refused.stderr

"""Images of another type among those to adapt to: refused, or brought to the range of the painted ones."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from ilp_file import adapt_config, painted
from tiny import SEGMENTOR, Data, artifacts
from typer.testing import CliRunner

from shallow2deep import adapt
from shallow2deep.cli import app
from shallow2deep.errors import InputError, SettingsError
from shallow2deep.forests import Forest
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inputs.images import open_images
from shallow2deep.inputs.rescaled import in_range
from shallow2deep.io.known import Known
from shallow2deep.io.map_files import read_map
from shallow2deep.io.volumes import open_volume
from shallow2deep.settings import AdaptConfig, RawData, read_yaml, validated


def bits16(raw: np.ndarray) -> np.ndarray:
    return raw.astype(np.uint16) * 200 + 1000


@pytest.fixture
def mixed(data: Data, tmp_path: Path) -> dict[str, str]:
    """The painted image in 8 bits, the other one in 16."""
    for n in range(2):
        raw = iio.imread(data.folder / f"target{n}_raw.png")
        iio.imwrite(tmp_path / f"target{n}_raw.png", bits16(raw) if n else raw)
    return {"raw": f"{tmp_path}/*_raw.png", "strokes": f"{data.folder}/target0_strokes.png"}


def test_all_results_see_the_rescaled_image(
    data: Data, source_run: Path, mixed: dict[str, str], tmp_path: Path
) -> None:
    """The forest, those of the pseudo-labels, and the segmentor."""
    segmentor = SEGMENTOR | {"steps": 4, "confidence": {"forests": 2}}
    plain = mixed | {"raw": f"{data.folder}/target?_raw.png"}
    adapt(data.target(source_run, target=plain, segmentor=segmentor), tmp_path / "plain")
    adapt(data.target(source_run, target=mixed | {"rescale": True}, segmentor=segmentor), tmp_path / "run")
    for name in ("target_forest", "segmentor-consistency"):
        found, expected = (read_map(tmp_path / r / name / "target1_raw.h5")[0] for r in ("run", "plain"))
        assert np.abs(found - expected).mean() < 0.15
    stated = read_yaml(tmp_path / "run" / "settings.yaml")
    assert validated(AdaptConfig, stated, "run").target.rescale
    before = artifacts(tmp_path / "run")
    adapt(data.target(source_run, target=mixed | {"rescale": True}, segmentor=segmentor), tmp_path / "run")
    assert artifacts(tmp_path / "run") == before


def test_from_the_command_line(data: Data, source_run: Path, mixed: dict[str, str], tmp_path: Path) -> None:
    arguments = [
        "adapt",
        "--raw",
        mixed["raw"],
        "--strokes",
        mixed["strokes"],
        "--run",
        str(tmp_path / "run"),
    ]
    arguments += ["--enhancer", str(source_run / "enhancer"), "--set", "enhanced.block=[64, 64]"]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, InputError)
    assert "have it done by rescale" in str(refused.exception)
    assert not (tmp_path / "run").exists()
    assert CliRunner().invoke(app, [*arguments, "--rescale"], catch_exceptions=False).exit_code == 0
    status = CliRunner().invoke(app, ["status", str(tmp_path / "run")])
    assert "must run" not in status.stdout


def test_stages_run_again_when_it_is_set(data: Data, source_run: Path, tmp_path: Path) -> None:
    """And an image that becomes another by it."""
    raw = iio.imread(data.folder / "target1_raw.png")
    iio.imwrite(tmp_path / "target1_raw.png", raw)
    iio.imwrite(tmp_path / "target0_raw.png", iio.imread(data.folder / "target0_raw.png"))
    target = {"raw": f"{tmp_path}/target?_raw.png", "strokes": f"{data.folder}/target0_strokes.png"}
    adapt(data.target(source_run, target=target), tmp_path / "run")
    before = artifacts(tmp_path / "run")
    adapt(data.target(source_run, target=target | {"rescale": True}), tmp_path / "run")
    assert artifacts(tmp_path / "run")["target_forest/forest.npz"] == before["target_forest/forest.npz"]
    iio.imwrite(tmp_path / "target1_raw.png", bits16(raw))
    adapt(data.target(source_run, target=target | {"rescale": True}), tmp_path / "run")
    after = artifacts(tmp_path / "run")
    assert after["target_forest/target1_raw.h5"] != before["target_forest/target1_raw.h5"]


def test_the_forest_of_a_project(flat: Path, source_run: Path, tmp_path: Path) -> None:
    for number, seed in enumerate((200, 201)):
        raw = painted(seed)[0]
        np.save(tmp_path / f"lane_{number}.npy", bits16(raw) if number else raw)
    target = {"ilp": str(flat), "background": 2, "raw": [str(tmp_path / f"lane_{n}.npy") for n in range(2)]}
    with pytest.raises(InputError, match=r"lane_1.npy.*rescale"):
        adapt(adapt_config(source_run, target, forest="ilp"), tmp_path / "run")
    adapt(adapt_config(source_run, target | {"rescale": True}, forest="ilp"), tmp_path / "run")
    expected = tmp_path / "expected"
    adapt(adapt_config(source_run, {"ilp": str(flat), "background": 2}, forest="ilp"), expected)
    found, known = (
        open_volume(run / "target_forest" / "lane_1.h5").read() for run in (tmp_path / "run", expected)
    )
    assert np.abs(found - known).mean() < 0.1
    assert Forest.load(tmp_path / "run/target_forest/forest.npz").record["raw"]["dtype"] == "uint8"


def test_maps_made_elsewhere_are_not_rescaled(data: Data, source_run: Path) -> None:
    with pytest.raises(SettingsError, match="leave out rescale"):
        data.target(source_run, target={"raw": "a.png", "probabilities": "p.h5", "rescale": True})


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stack_is_changed_as_one(channels: int, tmp_path: Path) -> None:
    """Each channel by its own range, whatever window is read; and what is near stays as it is."""
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 200, (channels, 4, 30, 40)).astype(np.uint8)
    raw[:, 3] //= 50  # an empty plane stays one
    np.save(tmp_path / "near.npy", raw[0] if channels == 1 else raw)
    np.save(tmp_path / "far.npy", bits16(raw[0] if channels == 1 else raw))
    axes = "zyx" if channels == 1 else "czyx"
    data = RawData(raw=(str(tmp_path / "near.npy"), str(tmp_path / "far.npy")), axes=axes)
    near, far = open_images(data, 2, "each")
    learned = Intensities.together([facts.intensities for facts in near.facts])
    same, found = in_range([near, far], learned, "the forest", True, Known())
    assert same is near
    expected = raw[0] if channels == 1 else raw
    np.testing.assert_allclose(found.whole.read(), expected, atol=1e-3)
    window = tuple(slice(n // 2, n) for n in found.whole.shape)
    np.testing.assert_allclose(found.whole.read(window), expected[window], atol=1e-3)
    np.testing.assert_allclose(found.parts[3].read(), expected[..., 3, :, :], atol=1e-3)
    assert found.facts[0].fingerprint != far.facts[0].fingerprint
    with pytest.raises(InputError, match="rescale"):
        in_range([near, far], learned, "the forest", False, Known())

"""Templates, overrides, names, and results that must not destroy anything."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch
import yaml
from tiny import N_IMAGES, Data

from shallow2deep import adapt, predict
from shallow2deep.settings import (
    EnhancedSettings,
    EnhancerTrainConfig,
    RawData,
    SourceData,
    TargetData,
    read_yaml,
    validated,
    with_overrides,
)
from shallow2deep.errors import InputError, SettingsError
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.io.volumes import open_volume, open_volumes
from shallow2deep.networks.model import ModelSpec
from shallow2deep.inputs.data import open_source, open_strokes
from shallow2deep.commands.demo import run_demo
from shallow2deep.stages.enhanced import enhance, enhanced_channels
from shallow2deep.commands.evaluate import evaluate
from shallow2deep.inputs.images import open_images
from shallow2deep.inputs.models import OWN_FOLDERS, models
from shallow2deep.inputs.names import owners
from shallow2deep.runs.parallel import threads_each
from shallow2deep.inputs.target import _compare_pixel_sizes, _open_labels
from shallow2deep.commands.init import write_template


def test_template_holds_the_defaults(tmp_path: Path) -> None:
    path = write_template(tmp_path / "enhancer.yaml")
    config = validated(EnhancerTrainConfig, read_yaml(path), str(path))
    plain = EnhancerTrainConfig(sources=config.sources)
    assert config == plain
    with pytest.raises(InputError, match="exists"):
        write_template(path)


def test_overrides() -> None:
    values = with_overrides(
        {"enhancer": {"steps": 1}}, ["enhancer.steps=5", "seed=3", "enhancer.patch=[8, 8]"]
    )
    assert values == {"enhancer": {"steps": 5, "patch": [8, 8]}, "seed": 3}
    for wrong in ("enhancer.steps", "enhancer.steps.x=1", "seed=["):
        with pytest.raises(SettingsError):
            with_overrides({"enhancer": {"steps": 1}}, [wrong])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("forests.trees", [120, 30]),
        ("forests.strokes.images", [0, 0]),
        ("forests.depths", []),
        ("enhancer.augment.zoom", [0, 1]),
        ("enhancer.network.depth", 12),
        ("source_net.patch", [512, 512, 1]),
        ("classes", ["a", "a"]),
        ("jobs", 0),
    ],
)
def test_settings_out_of_range(path: str, value: object, data: Data) -> None:
    values = with_overrides(
        data.source_values(), [f"{path}={yaml.safe_dump(value, default_flow_style=True)}"]
    )
    with pytest.raises(SettingsError):
        validated(EnhancerTrainConfig, values, "test")


def test_strokes_are_matched_by_name(data: Data) -> None:
    raws = open_volumes(f"{data.folder}/target*_raw.png")
    some = tuple(f"{data.folder}/target{n}_strokes.png" for n in (3, 1))
    target = TargetData(raw=("x",), strokes=some)
    found = open_strokes(target, 2, ("background", "disc"), raws)
    assert [bool(strokes.any()) for strokes in found] == [False, True, False, True]
    assert np.array_equal(found[3], iio.imread(some[0]))


@pytest.mark.parametrize(
    ("names", "keys", "expected"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["img10_Probabilities", "img1_Probabilities"], ["img1", "img10", "img2"], [1, 0]),
        (["a_1", "a"], ["a", "a_1"], [1, 0]),
        (["a2"], ["a"], None),
        (["a_x", "a_y"], ["a", "b"], None),
        (["a"], ["a", "a"], None),
    ],
)
def test_files_that_belong_together(names: list[str], keys: list[str], expected: list[int] | None) -> None:
    assert owners(names, keys) == expected


def test_strokes_and_labels_of_some_names(data: Data, tmp_path: Path) -> None:
    """In whatever order they come, and also a single one."""
    raws = open_volumes([f"{data.folder}/target{n}_raw.png" for n in (2, 0, 1)])
    for numbers in ((0, 1, 2), (1,)):
        given = tuple(f"{data.folder}/target{n}_strokes.png" for n in numbers)
        found = open_strokes(TargetData(raw=("x",), strokes=given), 2, ("background", "disc"), raws)
        for n, strokes in zip((2, 0, 1), found, strict=True):
            drawn = iio.imread(f"{data.folder}/target{n}_strokes.png")
            assert np.array_equal(strokes, drawn if n in numbers else np.zeros_like(drawn))
    images = open_images(
        TargetData(raw=[f"{data.folder}/target{n}_raw.png" for n in (2, 0)], strokes=("x",)), 2
    )
    labels = tuple(f"{data.folder}/target{n}_labels.png" for n in (0, 2))
    target = TargetData(raw=("x",), strokes=("x",), labels=labels)
    assert [v.name for v in _open_labels(target, 2, images)] == [labels[1], labels[0]]


def test_labels_of_sources_are_matched_by_name(data: Data, caplog: pytest.LogCaptureFixture) -> None:
    raws = [f"{data.folder}/source{n}_raw.png" for n in (0, 1)]
    labels = [f"{data.folder}/source{n}_labels.png" for n in (1, 0)]
    pairs = open_source(SourceData(raw=raws, labels=labels), 2, 2)
    assert [pair.labels.name for pair in pairs] == labels[::-1]
    assert not caplog.records
    strangers = [f"{data.folder}/target{n}_labels.png" for n in (1, 0)]
    pairs = open_source(SourceData(raw=raws, labels=strangers), 2, 2)
    assert [pair.labels.name for pair in pairs] == strangers
    assert "source0 -> target1" in caplog.text or "target1 -> source0" in caplog.text


def test_slices_are_those_of_raw(data: Data, tmp_path: Path) -> None:
    """Not of labels that are planes already; raw without planes has none to choose from."""
    images = [iio.imread(data.folder / f"source{n}_raw.png") for n in range(N_IMAGES)]
    np.save(tmp_path / "volume.npy", np.stack(images))
    labels = [f"{data.folder}/source{n}_labels.png" for n in (1, 3)]
    pairs = open_source(SourceData(raw=str(tmp_path / "volume.npy"), labels=labels, slices="1,3"), 2, 2)
    assert [pair.labels.name for pair in pairs] == labels
    assert np.array_equal(pairs[1].raw.read(), images[3])
    with pytest.raises(InputError, match="no planes to choose slices"):
        open_images(RawData(raw=f"{data.folder}/source*_raw.png", slices="1,3"), 2)


def test_two_structures_are_not_scored_unasked(tmp_path: Path) -> None:
    truth = np.zeros((8, 8), np.uint8)
    truth[:4] = 1
    for name, maps in (("classes", [1 - truth, truth]), ("structures", [truth, 0 * truth])):
        np.save(tmp_path / f"{name}.npy", np.stack(maps).astype(np.float32))
    np.save(tmp_path / "truth.npy", truth)

    def dice(name: str, channel: int | None = None) -> float:
        predicted = RawData(raw=(str(tmp_path / f"{name}.npy"),), axes="cyx")
        return evaluate(predicted, RawData(raw=(str(tmp_path / "truth.npy"),)), channel=channel)["all"][
            "dice"
        ]

    assert dice("classes") == dice("structures", 0) == 1
    with pytest.raises(InputError, match="two structures"):
        dice("structures")


def test_names_of_results_differ(tmp_path: Path) -> None:
    for folder, name in (("x", "a"), ("y", "a"), ("z", "a_2")):
        (tmp_path / folder).mkdir()
        iio.imwrite(tmp_path / folder / f"{name}.png", np.zeros((8, 8), np.uint8))
    raw = [str(p) for p in sorted(tmp_path.glob("*/*.png"))]
    names = [image.name for image in open_images(TargetData(raw=raw, strokes=("x",)), 2)]
    assert len(set(names)) == 3


def test_a_time_series_is_adapted_as_its_images(
    target_run: Path, source_run: Path, data: Data, tmp_path: Path
) -> None:
    for kind in ("raw", "strokes"):
        images = np.stack([iio.imread(data.folder / f"target{n}_{kind}.png") for n in range(N_IMAGES)])
        tifffile.imwrite(tmp_path / f"movie_{kind}.tif", images, imagej=True, metadata={"axes": "TYX"})
    movie = {"raw": str(tmp_path / "movie_raw.tif"), "strokes": str(tmp_path / "movie_strokes.tif")}
    adapt(data.target(source_run, target=movie), tmp_path / "run")
    written = predict(tmp_path / "run", movie["raw"], tmp_path / "out", "enhanced")
    for n, path in enumerate(written):
        assert path.name == f"movie_raw_t{n}.h5"
        expected = open_volume(target_run / "enhanced" / f"target{n}_raw.h5").read()
        np.testing.assert_array_equal(open_volume(tmp_path / "run" / "enhanced" / path.name).read(), expected)
        np.testing.assert_allclose(open_volume(path).read(), expected, atol=1e-6)


def test_predict_does_not_overwrite_raw(target_run: Path, data: Data, tmp_path: Path) -> None:
    raw = tmp_path / "raw.tif"
    iio.imwrite(raw, iio.imread(data.folder / "target0_raw.png"))
    before = raw.read_bytes()
    with pytest.raises(InputError, match="overwrite"):
        predict(target_run, str(raw), raw)
    assert raw.read_bytes() == before


@pytest.mark.parametrize("name", ["map.png", "map.npy"])
def test_predict_writes_no_other_formats(name: str, target_run: Path, data: Data, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="written as"):
        predict(target_run, str(data.folder / "target0_raw.png"), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_packages_that_are_being_written_have_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = next((Path(__file__).parents[2] / "pretrained").glob("nuclei-2d.zip"))
    for name in ("mine.zip", ".mine.partial.zip"):
        shutil.copy(package, tmp_path / name)
    monkeypatch.setenv(OWN_FOLDERS, str(tmp_path))
    assert [model.name for model in models() if model.path.parent == tmp_path] == ["mine"]


def test_killed_while_a_stale_stage_was_removed(target_run: Path, data: Data, tmp_path: Path) -> None:
    """What is left of old artifacts is not taken for new ones."""
    run = shutil.copytree(target_run, tmp_path / "run")
    (run / "target_forest" / "manifest.json").unlink()
    for old in (run / "target_forest").glob("*.h5"):
        old.write_bytes(b"old")
    enhancer = target_run.with_name("source")
    adapt(data.target(enhancer), run)
    for old in (run / "target_forest").glob("*.h5"):
        assert old.read_bytes() == (target_run / "target_forest" / old.name).read_bytes()


def test_class_is_the_last_channel_and_not_its_boundary() -> None:
    spec = ModelSpec("enhancer", ("foreground", "boundary"), features=4, depth=1, stem=1)
    network = spec.build().eval()
    p = np.random.default_rng(0).random((2, 16, 16), np.float32)
    expected = predict_with_network(network, p[1:])
    found = enhance(network, p, EnhancedSettings(block=(16, 16), scales=(1.0,)), torch.device("cpu"))
    assert enhanced_channels(("background", "disc"), spec) == ["disc boundary", "disc"]
    assert np.array_equal(found, expected[::-1])


class _Count(torch.nn.Module):
    """Gives the logits of 0.3 plus a tenth of the map, and notes the sizes it was asked for."""

    step, halo = 4, 4

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.add(x.shape[-1])
        return torch.logit(0.3 + 0.1 * x)


def test_maps_are_resized_for_the_enhancer_and_averaged() -> None:
    p = np.zeros((2, 24, 40), np.float32)
    p[1, :, 20:] = 1
    network = _Count()
    found = enhance(network, p, EnhancedSettings(scales=(0.5, 1.0, 2.0)), torch.device("cpu"))
    assert network.sizes == {20 + 8, 40 + 8, 80 + 8}
    assert found.shape == (1, 24, 40)
    np.testing.assert_allclose(found[0, :, :16], 0.3, atol=1e-5)
    np.testing.assert_allclose(found[0, :, 24:], 0.4, atol=1e-5)


class _RightAtFullSize(torch.nn.Module):
    """Gives the map itself, or its opposite where it has another size than 40 pixels and the halo."""

    step, halo = 4, 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.logit(x if x.shape[-1] == 40 + 8 else 1 - x, 1e-6)


def test_scales_that_agree_with_the_forest_weigh_more() -> None:
    """Maps of 0.1 and 0.9: Dice of p with itself is 0.82, with its opposite 0.18; their squares weigh."""
    p = np.full((2, 40, 40), 0.1, np.float32)
    p[1, :, 20:] = 0.9
    found = enhance(_RightAtFullSize(), p, EnhancedSettings(scales=(0.5, 1.0)), torch.device("cpu"))
    right, wrong = 0.82**2, 0.18**2
    expected = (right * 0.9 + wrong * 0.1) / (right + wrong)
    np.testing.assert_allclose(found[0, :, 30:], expected, atol=0.01)
    empty = enhance(_RightAtFullSize(), p * 0, EnhancedSettings(scales=(1.0, 1.0)), torch.device("cpu"))
    np.testing.assert_allclose(empty, 0, atol=1e-5)


@pytest.mark.parametrize(("pixel", "advice"), [(10, ""), (5, ""), (14, ""), (3, "[0.3]"), (20, "[2]")])
def test_pixel_sizes_that_the_scales_do_not_reach(
    pixel: float, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = ModelSpec("enhancer", ("foreground",), features=4, depth=1, stem=1, voxel_size=(10.0, 10.0))
    config, image = SimpleNamespace(enhanced=EnhancedSettings()), SimpleNamespace(voxel_size=(pixel, pixel))
    _compare_pixel_sizes(config, model, image)
    assert caplog.text.endswith(f"enhanced.scales={advice}\n" if advice else "")
    assert bool(caplog.text) == bool(advice)


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "demo")
    assert result.scores["enhanced"]["dice"] > result.scores["forest"]["dice"] + 0.05
    assert all(place.exists() for place in result.places.values())


@pytest.mark.parametrize(("jobs", "items", "threads"), [(8, 1, 8), (8, 3, 2), (2, 5, 1), (4, 0, 4)])
def test_few_items_take_all_cores(jobs: int, items: int, threads: int) -> None:
    assert threads_each(jobs, items) == threads

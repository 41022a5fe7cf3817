"""Images of any size in pixels, and pixels of any size."""

import logging
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from tiny import SEGMENTOR, SIZE, Data

from shallow2deep import adapt, enhancer_train, predict
from shallow2deep.errors import InputError
from shallow2deep.inputs.results import applied_enhancers
from shallow2deep.inputs.source import fitted, open_sources
from shallow2deep.inputs.target import open_target, with_pixel_size
from shallow2deep.io.volumes import open_volume
from shallow2deep.networks.model import load_spec
from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig, read_yaml, validated


def cut(data: Data, folder: Path, *shapes: tuple[int, int]) -> Data:
    """The first images, of those shapes."""
    for n, (y, x) in enumerate(shapes):
        for path in data.folder.glob(f"*{n}_*.png"):
            start = 36 if max(y, x) <= SIZE - 36 else 0  # where there is something
            iio.imwrite(folder / path.name, iio.imread(path)[start:, start:][:y, :x])
    return Data(folder)


@pytest.mark.parametrize("shape", [(40, 24), (13, 60)])
def test_one_image_smaller_than_two_patches_is_a_source(
    shape: tuple[int, int], data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shallow2deep")
    values = cut(data, tmp_path, shape).source_values()
    values["enhancer"]["steps"] = 2
    config = fitted(validated(EnhancerTrainConfig, values, "test"))
    source = open_sources(config)
    sizes = [image.raw.spatial_shape[np.argmax(shape)] for image in (*source.training, *source.validation)]
    assert sizes == [int(max(shape) * 0.8), max(shape) - int(max(shape) * 0.8)]
    assert "without room for two patches" in caplog.text
    enhancer_train(config, tmp_path / "run")


def test_images_of_mixed_sizes(data: Data, source_run: Path, tmp_path: Path) -> None:
    shapes = [(SIZE, SIZE), (70, 50), (21, 17)]  # the last one is smaller than a patch
    values = cut(data, tmp_path, *shapes).target_values(source_run)
    values["segmentor"] = SEGMENTOR | {"variants": ["plain"], "steps": 2}
    run = tmp_path / "run"
    adapt(validated(AdaptConfig, values, "test"), run)
    for step in ("target_forest", "enhanced", "segmentor-plain"):
        maps = predict(run, values["target"]["raw"], tmp_path / step, step)
        assert [open_volume(path).spatial_shape for path in maps] == shapes
        for path in maps:
            assert np.array_equal(open_volume(path).read(), open_volume(run / step / path.name).read())


def of_size(data: Data, enhancer: Path, size: float | None, **enhanced: object) -> AdaptConfig:
    values = data.target_values(enhancer)
    values["target"]["voxel_size"] = None if size is None else [size, size]
    values["enhanced"] |= {"scales": [0.5, 1.0]} | enhanced
    return validated(AdaptConfig, values, "test")


def test_enhancers_see_the_pixel_size_that_they_learned_at(
    data: Data, tmp_path: Path, source_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shallow2deep")
    values = data.source_values()
    values["sources"][0] |= {"voxel_size": [5, 5], "pixel_size": 8.0}
    values["enhancer"]["steps"] = 2
    run = tmp_path / "source"
    enhancer_train(fitted(validated(EnhancerTrainConfig, values, "test")), run)
    assert load_spec(run / "enhancer").voxel_size == (8, 8)
    config = of_size(data, run, 4.0, pixel_size="file")
    adapt(config, tmp_path / "target")
    assert "pixel size: 4 x 4 nm" in caplog.text
    resolved = validated(AdaptConfig, read_yaml(tmp_path / "target" / "settings.yaml"), "test")
    assert resolved.enhanced.pixel_size == 4
    (applied,) = applied_enhancers(resolved, open_target(config).enhancers, None, torch.device("cpu")).each
    assert applied.settings.scales == (0.25, 0.5)
    (first, *_) = predict(tmp_path / "target", f"{data.folder}/target0_raw.png", tmp_path / "out", "enhanced")
    own = open_volume(tmp_path / "target" / "enhanced" / first.name)
    assert own.spatial_shape == (SIZE, SIZE)
    assert np.array_equal(open_volume(first).read(), own.read())
    by_hand = of_size(data, run, 4.0, scales=[0.25, 0.5])
    adapt(by_hand, tmp_path / "by hand")
    assert np.array_equal(open_volume(tmp_path / "by hand" / "enhanced" / first.name).read(), own.read())
    problems = ((None, "file", "state none"), (4.0, 800.0, "learned at 8 nm"), (4.0, 0.5, "at 8 nm"))
    for size, asked, problem in problems:
        wrong = of_size(data, run, size, pixel_size=asked)
        with pytest.raises(InputError, match=problem):
            with_pixel_size(wrong, open_target(wrong))
    unknown = of_size(data, source_run, 4.0, pixel_size="file")
    with pytest.raises(InputError, match="does not say at which pixel size it learned"):
        adapt(unknown, tmp_path / "unknown")
    assert not (tmp_path / "unknown").exists()


def test_sources_at_another_pixel_size(data: Data) -> None:
    values = data.source_values()
    values["sources"][0] |= {"voxel_size": [5, 5], "pixel_size": 8.0}
    source = open_sources(validated(EnhancerTrainConfig, values, "test"))
    for image in (*source.training, *source.validation):
        assert image.raw.shape == image.labels.shape == (60, 60)
        assert image.raw.voxel_size == (8, 8)
        whole = open_volume(image.raw.file, voxel_size=(5, 5)).read()
        assert abs(image.raw.read().mean() - whole.mean()) < 1
        truth = open_volume(image.labels.file).read()
        assert abs((image.classes() > 0).mean() - (truth > 0).mean()) < 0.02

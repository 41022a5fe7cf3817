"""Labelled images of a source, and which labels belong to which."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import N_IMAGES, Data

from shallow2deep import enhancer_train
from shallow2deep.errors import SettingsError
from shallow2deep.inputs.source import fitted, open_source
from shallow2deep.settings import EnhancerTrainConfig, SourceData, validated


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
    """Not of labels that are planes already."""
    images = [iio.imread(data.folder / f"source{n}_raw.png") for n in range(N_IMAGES)]
    np.save(tmp_path / "volume.npy", np.stack(images))
    labels = [f"{data.folder}/source{n}_labels.png" for n in (1, 3)]
    pairs = open_source(SourceData(raw=str(tmp_path / "volume.npy"), labels=labels, slices="1,3"), 2, 2)
    assert [pair.labels.name for pair in pairs] == labels
    assert np.array_equal(pairs[1].raw.read(), images[3])


def test_patches_that_were_not_set_fit_small_images(data: Data, tmp_path: Path) -> None:
    values = data.source_values()
    for section in ("forests", "probabilities", "enhancer"):  # forests clip theirs to the image
        del values[section]["patch"]
    config = fitted(validated(EnhancerTrainConfig, values, "test"))
    assert config.probabilities.patch == config.enhancer.patch == (96, 96)
    assert config.forests.patch == (256, 256)
    values["sources"][0] |= {
        "raw": f"{data.folder}/source0_raw.png",
        "labels": f"{data.folder}/source0_labels.png",
    }
    one = fitted(validated(EnhancerTrainConfig, values, "test"))  # it is cut into two parts
    assert one.probabilities.patch == (48, 48)
    values["probabilities"]["patch"] = [40, 40]
    assert fitted(validated(EnhancerTrainConfig, values, "test")).enhancer.patch == (40, 40)
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "run")
    values["enhancer"]["patch"] = [64, 64]
    with pytest.raises(SettingsError, match=r"enhancer\.patch is larger"):
        validated(EnhancerTrainConfig, values, "test")

"""Channels from settings to results: a run asks new images for those that it learned on."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from tiny import N_IMAGES, SEGMENTOR, Data

from shallow2deep import adapt, enhancer_train, predict
from shallow2deep.errors import InputError
from shallow2deep.io.volumes import open_volume
from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig, PredictData, validated
from shallow2deep.settings.flags import with_flags


def stained(
    data: Data, folder: Path, kind: str, channels: tuple[str, ...] = ("ER", "disc", "DNA"), named: bool = True
) -> str:
    """The tiny data's raw as the channel "disc" of several; its mirror image as the others."""
    folder.mkdir(exist_ok=True)
    names = {"Channel": {"Name": list(channels)}} if named else {}
    for n in range(N_IMAGES):
        raw = iio.imread(data.folder / f"{kind}{n}_raw.png")
        image = np.stack([raw if name == "disc" else np.flipud(raw) for name in channels])
        path, metadata = folder / f"{kind}{n}_raw.ome.tif", {"axes": "CYX"} | names
        tifffile.imwrite(path, image, metadata=metadata, photometric="minisblack")
    return f"{folder}/{kind}*_raw.ome.tif"


def same(one: Path, other: Path) -> bool:
    return bool(np.array_equal(open_volume(one).read(), open_volume(other).read()))


def test_one_channel_is_as_good_as_a_file_of_its_own(
    data: Data, source_run: Path, target_run: Path, tmp_path: Path
) -> None:
    values = data.target_values(source_run)
    values["target"] |= {"raw": stained(data, tmp_path, "target")}
    with pytest.raises(InputError, match=r"3 channels came \(0 ER, 1 disc, 2 DNA\)"):
        adapt(validated(AdaptConfig, values, "test"), tmp_path / "run")
    run, segmentor = tmp_path / "run", tmp_path / "run" / "segmentor-plain"
    values = with_flags(values, {"channels": ["disc"]})
    values["segmentor"] = SEGMENTOR | {"variants": ["plain"], "steps": 2}
    adapt(validated(AdaptConfig, values, "test"), run)
    maps = sorted((run / "enhanced").glob("*.h5"))
    assert len(maps) == N_IMAGES
    for path in maps:
        assert same(path, target_run / "enhanced" / path.name.replace(".ome", ""))
    # new images have their channels in another order
    new = stained(data, tmp_path / "new", "target", ("disc", "ER"))
    for model, step, stage in ((run, "enhanced", "enhanced"), (segmentor, "recommended", segmentor.name)):
        for path in predict(model, new, tmp_path / "out" / stage, step):
            assert same(path, run / stage / path.name)
    other = stained(data, tmp_path / "new", "source", ("DNA", "ER"))
    with pytest.raises(InputError, match=r'no one channel "disc".*: 0 DNA, 1 ER'):
        predict(run, other, tmp_path / "other")
    # unless one is told which of theirs it is
    unnamed = stained(data, tmp_path / "unnamed", "target", ("ER", "disc"), named=False)
    with pytest.raises(InputError, match=r'no one channel "disc".*: 0, 1'):
        predict(run, unnamed, tmp_path / "told", "forest")
    told = PredictData(raw=(unnamed,), channels=(1,))
    for path in predict(run, told, tmp_path / "told", "forest"):
        assert same(path, run / "target_forest" / path.name)


def test_several_channels_are_seen_by_forests(data: Data, source_run: Path, tmp_path: Path) -> None:
    values = data.target_values(source_run)
    values["target"] |= {"raw": stained(data, tmp_path, "target"), "channels": ["DNA", "disc"]}
    config = validated(AdaptConfig, values, "test")
    assert config.target.channels == ("DNA", "disc")
    adapt(config, tmp_path / "run")
    maps = predict(tmp_path / "run", values["target"]["raw"], tmp_path / "out", "forest")
    assert all(same(path, tmp_path / "run" / "target_forest" / path.name) for path in maps)


def test_sources_learn_on_one(data: Data, source_run: Path, tmp_path: Path) -> None:
    values = data.source_values()
    values["sources"][0] |= {"raw": stained(data, tmp_path, "source"), "channels": "disc"}
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "run")
    weights = "enhancer/weights.safetensors"
    assert (source_run / weights).read_bytes() == (tmp_path / "run" / weights).read_bytes()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("grey", "grey"),
        (["each"], "each"),
        ("DAPI", ("DAPI",)),
        (["0"], (0,)),
        (2, (2,)),
        (["a", "1"], ("a", 1)),
    ],
)
def test_how_channels_are_given(given: object, expected: object) -> None:
    assert validated(PredictData, {"raw": "a.tif", "channels": given}, "test").channels == expected

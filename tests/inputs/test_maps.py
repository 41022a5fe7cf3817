"""Maps made elsewhere, in whatever form they come, in place of the target forest's."""

import json
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from ilp_file import adapt_config, foreground, painted, write_project
from tiny import SIZE, Data

from shallow2deep import adapt, predict
from shallow2deep.commands.project import predict_project
from shallow2deep.errors import InputError
from shallow2deep.io.atomic import read_json
from shallow2deep.io.volumes import open_volume
from shallow2deep.settings import read_yaml


@pytest.mark.parametrize(
    "form", ["channel first", "channel last", "ilastik", "one channel", "8 bits", "pages"]
)
def test_maps_made_elsewhere(form: str, flat: Path, source_run: Path, tmp_path: Path) -> None:
    given = [open_volume(path).read() for path in predict_project(flat, tmp_path / "maps")]
    names = []
    for n, p in enumerate(given):
        names.append(str(tmp_path / f"p{n}.{'h5' if form == 'ilastik' else 'npy'}"))
        if form == "ilastik":
            with h5py.File(names[-1], "w") as file:
                file["exported_data"] = np.moveaxis(p, 0, -1)
                tags = {"axes": [{"key": a} for a in "yxc"]}
                file["exported_data"].attrs["axistags"] = json.dumps(tags)
            continue
        arrays = {
            "channel first": p,
            "channel last": np.moveaxis(p, 0, -1),
            "one channel": p[0],
            "8 bits": np.round(p * 255).astype(np.uint8),
            "pages": p,
        }
        if form == "pages":
            names[-1] = str(tmp_path / f"p{n}.tif")
            tifffile.imwrite(names[-1], arrays[form])
        else:
            np.save(names[-1], arrays[form])
    target = {"ilp": str(flat), "background": "ground", "probabilities": names}
    channel = {"ilastik": "disc", "one channel": None}.get(form, 0)
    run = tmp_path / "run"
    adapt(adapt_config(source_run, target | {"channel": channel}), run)
    np.testing.assert_allclose(foreground(run, "lane_0"), given[0][0], atol=0.002)
    assert foreground(run, "lane_1", "enhanced").shape == (SIZE, SIZE)
    with pytest.raises(InputError, match="made elsewhere"):
        predict(run, names[0], tmp_path / "out", "forest")


def test_maps_without_strokes(flat: Path, source_run: Path, tmp_path: Path) -> None:
    raw = painted(200)[0]
    iio.imwrite(tmp_path / "raw.png", raw)
    p = open_volume(predict_project(flat, tmp_path / "maps")[0]).read()
    np.save(tmp_path / "p.npy", p[0])
    target = {"raw": str(tmp_path / "raw.png"), "probabilities": str(tmp_path / "p.npy")}
    adapt(adapt_config(source_run, target), tmp_path / "run")
    np.testing.assert_allclose(foreground(tmp_path / "run", "raw"), p[0], atol=1e-6)


def test_the_wrong_channel_contradicts_the_strokes(flat: Path, source_run: Path, tmp_path: Path) -> None:
    maps = [str(path) for path in predict_project(flat, tmp_path / "maps")]
    target = {"ilp": str(flat), "background": "ground", "probabilities": maps}
    for wrong, message in (
        (1, "choose the other channel"),
        ("dust", 'no channel "dust"'),
        (5, "give 0 to 1"),
    ):
        with pytest.raises(InputError, match=message):
            adapt(adapt_config(source_run, target | {"channel": wrong}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_maps_are_matched_by_name(source_run: Path, tmp_path: Path) -> None:
    for name, seed in (("b", 200), ("a", 201)):
        raw, strokes = painted(seed)
        iio.imwrite(tmp_path / f"{name}.png", raw)
        np.save(tmp_path / f"{name}_Probabilities.npy", (strokes == 1) * 0.8 + 0.1)
    lanes = [(f"{name}.png", "yxc", painted(seed)[1][..., None]) for name, seed in (("b", 200), ("a", 201))]
    project = write_project(tmp_path / "p.ilp", lanes, ("disc", "ground"))
    target = {"ilp": str(project), "background": "ground", "probabilities": f"{tmp_path}/*_Probabilities.npy"}
    adapt(adapt_config(source_run, target), tmp_path / "run")
    for name, lane in (("b", "lane_0"), ("a", "lane_1")):
        given = np.load(tmp_path / f"{name}_Probabilities.npy")
        np.testing.assert_allclose(foreground(tmp_path / "run", lane), given, atol=1e-6)


@pytest.mark.parametrize("form", ["as ilastik writes it", "without axes"])
def test_maps_of_time_series(form: str, source_run: Path, tmp_path: Path) -> None:
    lanes, expected = [], []
    for name, seeds in (("b", (200, 201)), ("a", (202, 203, 204))):
        raws, strokes = map(np.stack, zip(*map(painted, seeds), strict=True))
        np.save(tmp_path / f"{name}.npy", raws)
        lanes.append((f"{name}.npy", "tyxc", strokes[..., None]))
        p = np.stack([(strokes == 1) * 0.8 + 0.1, (strokes != 1) * 0.8 + 0.1], -1).astype(np.float32)
        expected += list(p[..., 0])
        if form == "without axes":
            np.save(tmp_path / f"{name}_Probabilities.npy", p)
            continue
        with h5py.File(tmp_path / f"{name}_Probabilities.h5", "w") as file:
            file["exported_data"] = p[:, None]
            tags = {"axes": [{"key": a} for a in "tzyxc"]}
            file["exported_data"].attrs["axistags"] = json.dumps(tags)
    project = write_project(tmp_path / "p.ilp", lanes, ("disc", "ground"))
    target = {"ilp": str(project), "background": "ground", "probabilities": f"{tmp_path}/*_Probabilities.*"}
    adapt(adapt_config(source_run, target | {"channel": "disc"}), tmp_path / "run")
    names = ["lane_0_t0", "lane_0_t1", "lane_1_t0", "lane_1_t1", "lane_1_t2"]
    for name, p in zip(names, expected, strict=True):
        np.testing.assert_allclose(foreground(tmp_path / "run", name), p, atol=1e-6)
    one = next(tmp_path.glob("a_Probabilities.*"))
    with pytest.raises(InputError, match="5 raw images but 1 probability maps"):
        adapt(
            adapt_config(source_run, target | {"channel": 0, "probabilities": str(one)}), tmp_path / "other"
        )


def test_labels_are_no_probabilities(flat: Path, source_run: Path, tmp_path: Path) -> None:
    for n in range(2):
        np.save(tmp_path / f"{n}.npy", painted(200 + n)[1] + 1)
    target = {"ilp": str(flat), "background": "ground", "probabilities": f"{tmp_path}/?.npy"}
    with pytest.raises(InputError, match="not labels"):
        adapt(adapt_config(source_run, target), tmp_path / "run")


def test_one_of_several_structures_in_maps(source_run: Path, tmp_path: Path) -> None:
    """Two kinds of ground: the discs' map is enhanced, and all other labels are background."""
    lanes, maps = [], []
    for seed in (200, 201):
        raw, strokes = painted(seed)
        strokes[:30][strokes[:30] == 2] = 3
        lanes.append((raw[..., None], "yxc", strokes[..., None]))
        maps.append(np.stack([(strokes == n) * 0.8 + 0.1 for n in (1, 2, 3)], -1).astype(np.float32))
        np.save(tmp_path / f"p{seed}.npy", maps[-1])
    project = write_project(tmp_path / "p.ilp", lanes, ("disc", "ground", "dirt"))
    target = {"ilp": str(project), "background": "ground", "probabilities": f"{tmp_path}/p*.npy"}
    for channel in ("disc", 0):
        run = tmp_path / f"run-{channel}"
        adapt(adapt_config(source_run, target | {"channel": channel}), run)
        assert np.array_equal(foreground(run, "lane_0"), maps[0][..., 0])
        assert read_yaml(run / "settings.yaml")["classes"] == ["ground", "disc"]
        assert read_json(run / "prediction" / "choice.json")["used_pixels"] == sum(
            np.count_nonzero(labels) for _, _, labels in lanes
        )
    few = write_project(tmp_path / "two.ilp", [(r, a, s * (s < 3)) for r, a, s in lanes], ("disc", "ground"))
    with pytest.raises(InputError, match="3 channels, but there are 2 names"):
        adapt(adapt_config(source_run, target | {"ilp": str(few), "channel": "disc"}), tmp_path / "other")
    for channel, message in ((None, "choose it by channel"), ("ground", "no structure"), (5, "dirt")):
        with pytest.raises(InputError, match=message):
            adapt(adapt_config(source_run, target | {"channel": channel}), tmp_path / "other")
    np.save(tmp_path / "p200.npy", 1 - maps[0])
    np.save(tmp_path / "p201.npy", 1 - maps[1])
    with pytest.raises(InputError, match="choose the other channel"):
        adapt(adapt_config(source_run, target | {"channel": "disc"}), tmp_path / "other")


def test_a_map_of_8_bits_may_be_empty(source_run: Path, tmp_path: Path) -> None:
    for n, p in enumerate((np.zeros((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), 200, np.uint8))):
        iio.imwrite(tmp_path / f"raw{n}.png", painted(200 + n)[0])
        np.save(tmp_path / f"raw{n}_p.npy", p)
    target = {"raw": f"{tmp_path}/raw*.png", "probabilities": f"{tmp_path}/raw*_p.npy"}
    adapt(adapt_config(source_run, target), tmp_path / "run")
    assert not foreground(tmp_path / "run", "raw0").any()


@pytest.mark.parametrize(
    ("dtype", "full"),
    [
        (np.uint8, 100),
        (np.uint8, 255),
        (np.uint16, 10000),
        (np.uint16, 65535),
        (np.float32, 100),
        (np.float64, 1),
    ],
)
def test_maps_are_shares_of_what_their_channels_add_up_to(
    dtype: type, full: int, data: Data, source_run: Path, tmp_path: Path
) -> None:
    p = np.random.default_rng(0).random((SIZE, SIZE))
    rounded = p * full if np.dtype(dtype).kind == "f" else np.round(p * full)
    np.save(tmp_path / "target0_p.npy", np.stack([full - rounded, rounded]).astype(dtype))
    target = {
        "raw": f"{data.folder}/target0_raw.png",
        "probabilities": f"{tmp_path}/target0_p.npy",
        "channel": 1,
    }
    adapt(data.target(source_run, target=target), tmp_path / "run")
    found = open_volume(tmp_path / "run" / "target_forest" / "target0_raw.h5").read()[1]
    np.testing.assert_allclose(found, p, atol=0.51 / full if np.dtype(dtype).kind != "f" else 1e-6)


@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.uint8, 100), (np.uint16, 255), (np.uint16, 10000), (np.float32, 100)]
)
def test_one_channel_whose_range_is_not_evident_is_refused(
    dtype: type, largest: int, data: Data, source_run: Path, tmp_path: Path
) -> None:
    p = np.random.default_rng(0).random((SIZE, SIZE)) * largest
    p[0, 0] = largest
    np.save(tmp_path / "target0_p.npy", p.astype(dtype))
    target = {"raw": f"{data.folder}/target0_raw.png", "probabilities": f"{tmp_path}/target0_p.npy"}
    with pytest.raises(InputError, match="not evidently probabilities"):
        adapt(data.target(source_run, target=target), tmp_path / "run")
    assert not (tmp_path / "run").exists()

"""Raw of another type or gain than what was learned on is refused, or rescaled where that is asked for."""

import logging
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import SEGMENTOR, Data

from shallow2deep import FeatureSpec, adapt, predict, predict_probabilities, train_forest
from shallow2deep.errors import InputError
from shallow2deep.forests import Forest
from shallow2deep.inference.intensity import Intensities
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.model import load_spec


def _raw(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 220, (64, 64)).astype(np.uint8)


LEARNED = Intensities.of(_raw(), 2)
OTHERS = {
    "16 bits": lambda raw: raw.astype(np.uint16) * 200 + 1000,
    "full 16 bits": lambda raw: raw.astype(np.uint16) * 257,
    "0 to 1": lambda raw: (raw / 255).astype(np.float32),
    "gain of 16": lambda raw: raw.astype(np.float32) * 16,
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_another_type_or_gain_is_far(change) -> None:  # type: ignore[no-untyped-def]
    assert Intensities.of(change(_raw(1)), 2).is_far_from(LEARNED)


def test_the_same_values_in_another_type_are_near() -> None:
    for dtype in (np.uint8, np.uint16, np.float32, np.int32):
        other = Intensities.of(_raw(1).astype(dtype), 2)
        assert not other.is_far_from(LEARNED)
        assert not other.differs_from(LEARNED)


@given(gain=st.floats(0.2, 3), offset=st.floats(-100, 300))
def test_images_of_one_experiment_may_differ(gain: float, offset: float) -> None:
    raw = (_raw(1) * gain + offset).clip(0, 255).astype(np.uint8)
    assert not Intensities.of(raw, 2).is_far_from(LEARNED)


def test_a_dim_image_is_told_of() -> None:
    assert Intensities.of(_raw(1) // 8, 2).differs_from(LEARNED)


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_rescaled_it_is_as_learned(change) -> None:  # type: ignore[no-untyped-def]
    other = change(_raw())
    back = Intensities.of(other, 2).brought_to(LEARNED, other, 2)
    np.testing.assert_allclose(back, _raw(), atol=0.5)


def test_channels_each_have_a_range() -> None:
    raw = np.stack([_raw(), _raw() // 4])
    found = Intensities.of(raw, 2)
    assert len(found.channels) == 2
    swapped = Intensities.of(np.stack([raw[0], raw[1].astype(int) * 90]), 2)
    assert swapped.is_far_from(found)
    assert Intensities.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    "record", [None, {}, {"channels": 3}, {"channels": [[1, 2]]}, {"channels": [["a"] * 3]}]
)
def test_records_of_others_say_nothing(record: object) -> None:
    assert Intensities.from_dict(record) is None


def test_a_forest_keeps_its_range_and_refuses_other_raw(tmp_path: Path) -> None:
    strokes = np.zeros((64, 64), np.uint8)
    strokes[5], strokes[50] = 1, 2
    forest = train_forest(_raw(), strokes, FeatureSpec.ilastik((0.7,), 2), n_trees=3)
    forest.save(tmp_path / "forest.npz")
    forest = Forest.load(tmp_path / "forest.npz")
    predict_probabilities(forest, _raw(1))
    for change in OTHERS.values():
        with pytest.raises(InputError, match=r"\(uint8\).*rescale"):
            predict_probabilities(forest, change(_raw(1)))
        found = predict_probabilities(forest, change(_raw(0)), rescale=True)
        assert abs(found - predict_probabilities(forest, _raw(0))).mean() < 0.05


def test_images_in_16_bits_are_refused_before_work_and_rescaled_on_request(
    data: Data, target_run: Path, tmp_path: Path
) -> None:
    raw = iio.imread(data.folder / "target0_raw.png")
    iio.imwrite(tmp_path / "a.png", raw.astype(np.uint16) * 200 + 1000)
    with pytest.raises(InputError, match=r"a.png: its values are .*\(uint16\), but .* \(uint8\)"):
        predict(target_run, str(tmp_path / "a.png"), tmp_path / "out", "enhanced")
    assert not (tmp_path / "out").exists()
    (path,) = predict(target_run, str(tmp_path / "a.png"), tmp_path / "out", "forest", rescale=True)
    expected, _ = read_map(target_run / "target_forest" / "target0_raw.h5")
    assert np.abs(read_map(path)[0] - expected).mean() < 0.1


def test_a_target_of_mixed_types_is_refused(data: Data, source_run: Path, tmp_path: Path) -> None:
    for n in range(2):
        raw = iio.imread(data.folder / f"target{n}_raw.png")
        iio.imwrite(tmp_path / f"target{n}_raw.png", raw.astype(np.uint16) * 200 + 1000 if n else raw)
    target = {"raw": f"{tmp_path}/*_raw.png", "strokes": f"{data.folder}/target0_strokes.png"}
    with pytest.raises(InputError, match=r"target1_raw.png: its values are .* the forest of the strokes"):
        adapt(data.target(source_run, target=target), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_segmentor_keeps_its_range(
    data: Data, source_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segmentor = SEGMENTOR | {"variants": ["plain"], "confidence": {"use": "none"}}
    adapt(data.target(source_run, segmentor=segmentor), tmp_path / "run")
    assert load_spec(tmp_path / "run" / "segmentor-plain").record["raw"]["dtype"] == "uint8"
    raw = iio.imread(data.folder / "target0_raw.png")
    iio.imwrite(tmp_path / "float.tif", (raw / 255).astype(np.float32))
    for model, step in (
        (tmp_path / "run", "segmentor"),
        (tmp_path / "run" / "segmentor-plain", "recommended"),
    ):
        with pytest.raises(InputError, match="rescale"):
            predict(model, str(tmp_path / "float.tif"), tmp_path / "out", step)
    iio.imwrite(tmp_path / "dim.png", raw // 6)
    with caplog.at_level(logging.WARNING):
        predict(tmp_path / "run", str(tmp_path / "dim.png"), tmp_path / "out", "segmentor")
    assert "differ in brightness or contrast from those learned on" in caplog.text

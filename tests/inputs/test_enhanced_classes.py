"""Which classes an enhancer is applied to, where there are several."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest
from tiny import SIZE, Data

from shallow2deep import adapt, export, predict
from shallow2deep.errors import InputError, SettingsError
from shallow2deep.features import FeatureSpec
from shallow2deep.inputs.models import Given, kept_classes
from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.io.map_files import read_map
from shallow2deep.settings import AdaptConfig, EnhancedSettings, read_yaml, validated, with_flags


def kept(
    classes: tuple[str, ...], known: tuple[str, ...] | None, wanted: tuple[str, ...] | None = None
) -> set[int]:
    config = SimpleNamespace(classes=classes, enhanced=EnhancedSettings(classes=wanted))
    spec = SimpleNamespace(record={} if known is None else {"classes": list(known)})
    return set(kept_classes(config, spec, Given("some", "enhancer")))  # type: ignore[arg-type]


def test_the_only_class_is_enhanced_whatever_its_name() -> None:
    assert kept(("ground", "cell"), ("background", "nuclei")) == set()
    assert kept(("ground", "cell"), None) == set()


def test_of_several_classes_the_one_of_the_enhancers_name() -> None:
    assert kept(("ground", "membrane", "nuclei"), ("background", "nuclei")) == {1}


def test_an_enhancer_of_several_structures_is_applied_to_all() -> None:
    assert kept(("ground", "a", "b"), ("background", "x", "y")) == set()


def test_chosen_classes() -> None:
    assert kept(("ground", "a", "b", "c"), ("background", "x"), ("a", "c")) == {2}


@pytest.mark.parametrize("known", [("background", "nuclei"), None])
def test_what_is_not_evident_is_asked_for(known: tuple[str, ...] | None) -> None:
    with pytest.raises(InputError, match=r"there are the classes a, b; choose .*--enhancer a=some"):
        kept(("ground", "a", "b"), known)


def test_unknown_classes_are_refused() -> None:
    with pytest.raises(InputError, match=r"enhanced\.classes has z"):
        kept(("ground", "a", "b"), None, ("z",))


def test_a_class_that_is_not_for_the_enhancer_keeps_the_forests_map(
    data: Data, source_run: Path, tmp_path: Path
) -> None:
    """In the run and in predictions."""
    strokes = iio.imread(data.folder / "target0_strokes.png")
    strokes[:3, : SIZE // 2] = 3
    iio.imwrite(tmp_path / "target0_strokes.png", strokes)
    values = {
        "classes": ["background", "disc", "rim"],
        "target": {"raw": f"{data.folder}/target0_raw.png", "strokes": f"{tmp_path}/target0_strokes.png"},
    }
    adapt(data.target(source_run, **values), tmp_path / "run")  # it knows discs
    forest, _ = read_map(tmp_path / "run" / "target_forest" / "target0_raw.h5")
    enhanced, outputs = read_map(tmp_path / "run" / "enhanced" / "target0_raw.h5")
    assert [output.title for output in outputs] == ["background", "disc", "rim"]
    alone = enhanced[0] > 1e-3  # elsewhere the two classes came to more than 1
    assert alone.mean() > 0.5
    assert enhanced[2][alone] == pytest.approx(forest[2][alone], abs=1e-6)
    assert (enhanced[2] <= forest[2]).all()
    assert not np.array_equal(enhanced[1], forest[1])
    assert enhanced.sum(0) == pytest.approx(1, abs=1e-6)
    (path,) = predict(tmp_path / "run", f"{data.folder}/target0_raw.png", tmp_path / "out", "enhanced")
    assert np.array_equal(read_map(path)[0], enhanced)
    choice = read_json(tmp_path / "run" / "prediction" / "choice.json")
    chosen = {name: one["recommended"] for name, one in choice["of_classes"].items()}
    assert (chosen, choice["recommended"]) == ({"disc": "enhanced", "rim": "target_forest"}, "mixed")
    mixed, outputs = read_map(tmp_path / "run" / "prediction" / "target0_raw.h5")
    assert [output.title for output in outputs] == ["background", "disc", "rim"]
    together = np.maximum(enhanced[1] + forest[2], 1)
    assert mixed[1:] == pytest.approx(np.array([enhanced[1], forest[2]]) / together, abs=1e-6)
    (path,) = predict(tmp_path / "run", f"{data.folder}/target0_raw.png", tmp_path / "mixed")
    assert np.array_equal(read_map(path)[0], mixed)
    assert read_map(path)[1] == outputs
    others = values | {"classes": ["background", "one", "two"]}
    with pytest.raises(InputError, match="the enhancer knows disc"):
        adapt(data.target(source_run, **others), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_enhancer_for_each_class(
    data: Data, source_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Given by flags; the run keeps copies of both, and goes on without those that were given."""
    strokes = iio.imread(data.folder / "target0_strokes.png")
    strokes[:3, : SIZE // 2] = 3
    iio.imwrite(tmp_path / "target0_strokes.png", strokes)
    shutil.copytree(source_run, tmp_path / "for-rims")
    model = read_json(tmp_path / "for-rims" / "enhancer" / "model.json")
    model["record"]["features"] |= FeatureSpec.ilastik(scales=(0.7, 3.5)).to_dict()
    write_json(tmp_path / "for-rims" / "enhancer" / "model.json", model)
    values = data.target_values(
        Path(),
        classes=["background", "disc", "rim"],
        target={"raw": f"{data.folder}/target0_raw.png", "strokes": f"{tmp_path}/target0_strokes.png"},
    )
    flags = {"enhancer": [f"disc={source_run}", f"rim={tmp_path}/for-rims"]}
    config = validated(AdaptConfig, with_flags(values, flags), "test")
    adapt(config, tmp_path / "run")
    assert "enhancers learned on different features" in caplog.text
    forest, _ = read_map(tmp_path / "run" / "target_forest" / "target0_raw.h5")
    enhanced, outputs = read_map(tmp_path / "run" / "enhanced" / "target0_raw.h5")
    assert [output.title for output in outputs] == ["background", "disc", "rim"]
    assert not any(np.array_equal(enhanced[n], forest[n]) for n in (1, 2))
    assert "rim: " in (tmp_path / "run" / "report.html").read_text()
    shutil.rmtree(tmp_path / "for-rims")
    adapt(config, tmp_path / "run")
    (path,) = predict(tmp_path / "run", f"{data.folder}/target0_raw.png", tmp_path / "out", "enhanced")
    assert np.array_equal(read_map(path)[0], enhanced)
    with pytest.raises(InputError, match="there is an enhancer for each of several classes"):
        export(tmp_path / "run", tmp_path / "package.zip", step="enhanced")


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        (["a", "b"], {}, "give one, or CLASS=NAME once for each class"),
        (["a=x", "a=y"], {}, "CLASS=NAME"),
        (["a=x", "b="], {}, "CLASS=NAME"),
        (["z=x"], {}, "enhancer is given for z, but the classes besides the first are a, b"),
        (["a=x"], {"enhanced": {"classes": ["a"]}}, "leave out enhanced.classes"),
        (["a=x"], {"compare": {"source_net": True}}, "give one enhancer"),
    ],
)
def test_enhancers_that_cannot_be_told_apart_are_refused(given: list[str], more: dict, message: str) -> None:
    values = {"classes": ["ground", "a", "b"], "target": {"raw": "x.png", "strokes": "y.png"}}
    with pytest.raises(SettingsError, match=message):
        validated(AdaptConfig, with_flags(values | more, {"enhancer": given}), "test")


def test_names_of_enhancers_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "settings.yaml").write_text("enhancer: {a: mine, b: nuclei-2d, c: other/one.zip}")
    assert read_yaml(tmp_path / "settings.yaml")["enhancer"] == {
        "a": f"{tmp_path}/mine",
        "b": "nuclei-2d",
        "c": f"{tmp_path}/other/one.zip",
    }

"""Several sources, looks and the enhancer's companion: pools, what is left out, and what is made of them."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from tiny import SIZE, Data

from shallow2deep import adapt, enhancer_train, predict
from shallow2deep.commands.export import export
from shallow2deep.errors import DamagedFileError, InputError, SettingsError
from shallow2deep.exports.packages import load_packaged_companion
from shallow2deep.forests import Forest
from shallow2deep.inputs.models import fingerprint_of, load_companion, open_enhancer
from shallow2deep.io.known import Known
from shallow2deep.io.map_files import read_map
from shallow2deep.networks.model import load_model, load_spec, save_model
from shallow2deep.settings import EnhancerTrainConfig, RawData, validated
from shallow2deep.stages.forests import views

CHANGED_RAW = {"noise": [0.2], "blur": [0.7], "gamma": 0.2, "zoom": [0.6, 1.6], "exposure": 0.1}


def two_sources(data: Data, **changes: object) -> dict:
    """Bright discs, and the same images upside down in grey values."""
    values = data.source_values(**changes)
    first = values["sources"][0] | {"name": "bright"}
    second = first | {"raw": f"{data.folder}/target*_raw.png", "labels": f"{data.folder}/target*_labels.png"}
    values["sources"] = [first, second | {"name": "dim", "licence": "MIT"}]
    values["forests"] |= CHANGED_RAW
    values["probabilities"] |= {"forests_per_patch": 1}
    return values


@pytest.fixture(scope="module")
def run(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources in many looks, and an enhancer with a companion."""
    values = two_sources(data)
    values["enhancer"] |= {"raw": True}
    folder = tmp_path_factory.mktemp("companion") / "run"
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), folder)
    return folder


def test_each_forest_knows_one_source_in_one_look(data: Data, run: Path) -> None:
    config = validated(EnhancerTrainConfig, two_sources(data), "test")
    found = views(config, 2, "training")
    assert [view.source for view in found] == [0, 1, 0, 1]
    assert sorted(i for view in found for i in view.forests) == [0, 1, 2, 3]
    assert len({view.look for view in found}) == 4
    for view in (*found, *views(config, 2, "validation")):
        for index in view.forests:
            record = Forest.load(run / "forests" / f"forest_{index:04d}.npz").record
            assert record["source"] == view.source
            assert record["look"]["zoom"] == view.look.zoom


def test_raw_maps_and_classes_of_a_patch_fit(run: Path) -> None:
    pool = zarr.open_group(run / "probabilities" / "pool.zarr", mode="r")["training"]
    agreement = []
    for n in range(pool["classes"].shape[0]):
        raw, inside = pool["raw"][n].astype(np.float64), pool["classes"][n] > 0
        if inside.any():
            agreement.append(raw[inside].mean() - raw[~inside].mean())
    assert np.median(agreement) > 0.5  # discs are bright, in deviations
    assert np.isfinite(pool["raw"][:]).all()


def test_what_is_left_out_teaches_no_network(data: Data, run: Path, tmp_path: Path) -> None:
    values = two_sources(data, leave_out=["dim"])
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "run")
    assert load_spec(tmp_path / "run" / "enhancer").metadata["data_licences"] == ["CC0 for tests"]
    for name in ("forests", "probabilities"):  # these are the same
        keys = [json.loads((r / name / "manifest.json").read_text())["key"] for r in (run, tmp_path / "run")]
        assert keys[0] == keys[1]
    weights = [(r / "enhancer" / "weights.safetensors").read_bytes() for r in (run, tmp_path / "run")]
    assert weights[0] != weights[1]


@pytest.mark.parametrize(
    ("names", "problem"), [(["dmi"], "leave_out names dmi"), (["bright", "dim"], "leaves no source")]
)
def test_leaving_out_what_is_not_there_is_refused(data: Data, names: list[str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        validated(EnhancerTrainConfig, two_sources(data, leave_out=names), "test")


def test_images_smaller_than_a_patch_are_mirrored(
    data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = two_sources(data)
    values["probabilities"] |= {"patch": [SIZE + 32, SIZE + 32]}
    caplog.set_level(logging.INFO)
    enhancer_train(validated(EnhancerTrainConfig, values, "test"), tmp_path / "run")
    assert "mirrored" in caplog.text
    pool = zarr.open_group(tmp_path / "run" / "probabilities" / "pool.zarr", mode="r")["training"]
    assert pool["maps"].shape[-2:] == (SIZE + 32, SIZE + 32)


def test_a_companion_is_used_kept_and_packed(data: Data, run: Path, tmp_path: Path) -> None:
    companion = load_companion(run / "enhancer")
    assert companion is not None
    assert companion[1].in_channels == 2
    assert load_model(run / "enhancer")[1].in_channels == 1
    assert not list((run / "enhancer").rglob("checkpoints"))

    both, alone = tmp_path / "both", tmp_path / "alone"
    adapt(data.target(run / "enhancer"), both)
    adapt(data.target(run / "enhancer", enhanced={"device": "cpu", "raw": False}), alone)
    maps = [read_map(next((r / "enhanced").glob("*.h5")))[0] for r in (both, alone)]
    assert not np.allclose(maps[0], maps[1])
    assert fingerprint_of(both / "enhancer", Known()) == fingerprint_of(run / "enhancer", Known())

    overrides = [
        "package.title=tiny enhancer", "package.authors=[{name: A. Tester}]", "package.licence=CC0-1.0",
        "package.validation=Dice 0.5 on made-up discs.",
    ]  # fmt: skip
    package = export(run, tmp_path / "tiny", overrides=overrides)
    packed = load_packaged_companion(package)
    assert packed is not None
    assert all((a == b).all() for a, b in zip(packed[0].parameters(), companion[0].parameters(), strict=True))
    from_package = tmp_path / "from package"
    adapt(data.target(package), from_package)
    again = read_map(next((from_package / "enhanced").glob("*.h5")))[0]
    np.testing.assert_array_equal(again, maps[0])

    crafted = tmp_path / "crafted"
    shutil.copytree(run / "enhancer", crafted)
    save_model(crafted / "with_raw", *load_model(crafted))  # one channel
    with pytest.raises(DamagedFileError, match="does not take a map and raw"):
        open_enhancer(crafted)

    file = package / "with_raw.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedFileError, match="checksum"):
        load_packaged_companion(package)


def test_a_companion_comes_to_know_the_target(data: Data, run: Path, tmp_path: Path) -> None:
    known, learned = tmp_path / "known", tmp_path / "learned"
    adapt(data.target(run / "enhancer"), known)
    adapt(data.target(run / "enhancer", enhanced={"device": "cpu", "statistics": 0.0}), learned)
    assert not (learned / "enhanced" / "with_raw").exists()
    own = load_model(known / "enhanced" / "with_raw")[0].state_dict()
    before = load_model(run / "enhancer" / "with_raw")[0].state_dict()
    differing = {name for name in own if not np.array_equal(own[name], before[name])}
    assert differing == {name for name in own if "running" in name}

    image = next((known / "enhanced").glob("*.h5")).stem
    maps = [read_map(one / "enhanced" / f"{image}.h5")[0] for one in (known, learned)]
    assert not np.allclose(maps[0], maps[1])
    raw = data.folder / f"{image}.png"
    predicted = predict(known, RawData(raw=(str(raw),)), tmp_path / "p", "enhanced")
    np.testing.assert_array_equal(read_map(predicted[0])[0], maps[0])

    shutil.rmtree(known / "enhanced")  # the stage begins anew, and gives the same
    adapt(data.target(run / "enhancer", jobs=2), known)
    for name, value in load_model(known / "enhanced" / "with_raw")[0].state_dict().items():
        np.testing.assert_array_equal(value, own[name])


def test_maps_alone_do_not_suffice_a_companion(run: Path) -> None:
    from shallow2deep.inference.enhance import Enhancer

    network, spec = load_model(run / "enhancer")
    found = load_companion(run / "enhancer")
    assert found is not None
    enhancer = Enhancer(network, spec.outputs, companion=found[0])
    p = np.full((2, 32, 32), 0.5, np.float32)
    with pytest.raises(InputError, match=r"give raw with them, or set enhanced\.raw"):
        enhancer.enhance(p)
    raw = np.random.default_rng(0).random((32, 32), np.float32)
    planes = enhancer.enhance(np.stack([p, p], 1), np.stack([raw, raw]))
    np.testing.assert_array_equal(planes[:, 1], enhancer.enhance(p, raw))

"""Trainings that start from what exists: what is taken, what stands still, what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import torch
import yaml
from test_cli import s2d
from tiny import Data

import shallow2deep as s2d_api
from shallow2deep.commands.enhancer_train import source_stages
from shallow2deep.commands.status import status
from shallow2deep.errors import InputError, MissingDataError, SettingsError
from shallow2deep.exports.packages import load_package
from shallow2deep.inputs.models import find_enhancer
from shallow2deep.inputs.start_weights import open_start
from shallow2deep.io.known import Known
from shallow2deep.networks.model import ModelSpec, load_model, load_spec
from shallow2deep.outputs import Output
from shallow2deep.settings import EnhancerSettings, NetworkSettings, TrainConfig, TrainingSettings, validated

NETWORK = {"features": 4, "depth": 2, "stem": 2}


def spec(**changes: Any) -> ModelSpec:
    return ModelSpec.of("enhancer", (Output(None),), NetworkSettings(**(NETWORK | changes)))


def labelled(data: Data, **changes: Any) -> TrainConfig:
    net = data.source_values()["enhancer"] | {"steps": 3, "validate_every": 3} | changes
    sources = [data.source_values()["sources"][0] | {"licence": "of the second"}]
    return validated(
        TrainConfig, {"classes": ["background", "disc"], "sources": sources, "labelled_net": net}, "test"
    )


def test_a_network_starts_from_another_and_its_parts_stand_still(
    data: Data, source_run: Path, tmp_path: Path
) -> None:
    """The run's network for raw, in another one for raw; the terms of both data go along."""
    s2d_api.train(labelled(data, weights=str(source_run), frozen=["stem", "down"]), tmp_path / "run")
    network, found = load_model(tmp_path / "run" / "labelled_net")
    given = load_model(source_run / "source_net")[0].state_dict()
    tensors = network.state_dict()
    still = [name for name in tensors if name.startswith(("stem", "down"))]
    assert any("running_mean" in name for name in still)
    assert all(torch.equal(tensors[name], given[name]) for name in still)
    assert not torch.equal(tensors["head.0.weight"], given["head.0.weight"])
    assert found.record["start"]["kind"] == "source_net"
    assert found.record["start"]["from_scratch"] == []
    assert found.metadata["data_licences"] == ["of the second", "CC0 for tests"]
    assert "layers taken" in (tmp_path / "run" / "log.txt").read_text()


def test_other_weights_make_it_stale(data: Data, source_run: Path, tmp_path: Path) -> None:
    start = shutil.copytree(source_run / "enhancer", tmp_path / "start")
    s2d_api.train(labelled(data, weights=str(start)), tmp_path / "run")
    assert status(tmp_path / "run").word == "finished"
    moved = start.rename(tmp_path / "moved")
    with pytest.raises(MissingDataError, match="no trained network here"):
        status(tmp_path / "run")
    shutil.copytree(source_run / "enhancer", start)
    shutil.copy(tmp_path / "run" / "labelled_net" / "weights.safetensors", start)
    state = status(tmp_path / "run").stages["labelled_net"]
    assert state.word == "stale"
    assert "inputs.weights" in state.reason
    assert moved.is_dir()


@pytest.mark.parametrize("raw", [False, True])
def test_an_enhancer_is_trained_on(data: Data, source_run: Path, tmp_path: Path, raw: bool) -> None:
    """From its package, with all of its layers; a companion takes what it can of it."""
    settings = data.source_values()["enhancer"] | {"steps": 2, "raw": raw}
    run = shutil.copytree(source_run, tmp_path / "run")
    config = data.source(enhancer=settings | {"weights": str(source_run)})
    s2d_api.enhancer_train(config, run)
    begun = load_spec(run / "enhancer").record["start"]
    assert begun["name"] == "enhancer"
    assert begun["from_scratch"] == []
    if raw:
        of_companion = load_spec(run / "enhancer" / "with_raw").record["start"]
        assert of_companion["from_scratch"] == ["stem"]
        again = data.source(enhancer=settings | {"weights": str(run)})
        other = shutil.copytree(source_run, tmp_path / "other")
        s2d_api.enhancer_train(again, other)
        assert load_spec(other / "enhancer" / "with_raw").record["start"]["from_scratch"] == []


def test_weights_decide_by_their_content(data: Data, source_run: Path, tmp_path: Path) -> None:
    settings = data.source_values()["enhancer"]
    copy = shutil.copytree(source_run / "enhancer", tmp_path / "copy")

    def key(**more: Any) -> str:
        return source_stages(data.source(enhancer=settings | more), Known())[-1].key

    scratch, first = key(), key(weights=str(source_run))
    assert len({scratch, first, key(frozen=["stem"])}) == 3
    assert first == key(weights=str(copy))


def test_a_package_that_comes_along_by_its_name() -> None:
    wanted = NetworkSettings(features=16, depth=3)
    settings = EnhancerSettings(weights="nuclei-2d", network=wanted)
    whole = ModelSpec.of("enhancer", (Output(None), Output(None, "boundary")), wanted)
    start = open_start(settings, whole, "enhancer")
    assert start is not None
    network = whole.build()
    assert start.give(network)["from_scratch"] == ["head.0"]
    tensors = load_package(start.place)[0].state_dict()
    assert torch.equal(network.state_dict()["stem.weight"], tensors["stem.weight"])
    assert start.licences


def test_what_cannot_be_trained_is_refused(source_run: Path, tmp_path: Path) -> None:
    def start(name: Path, **changes: Any) -> None:
        open_start(TrainingSettings(weights=str(name)), spec(**changes), "enhancer")

    with pytest.raises(MissingDataError, match="no trained network here"):
        start(tmp_path)
    (tmp_path / "network.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"TorchScript cannot"):
        start(tmp_path / "network.pt")
    with pytest.raises(InputError, match="none of its layers"):
        start(source_run, features=5)
    with pytest.raises(SettingsError, match="frozen has 'dwon'"):
        open_start(TrainingSettings(frozen=("dwon",)), spec(), "enhancer")


def test_another_programs_package_is_refused(tmp_path: Path) -> None:
    with ZipFile(find_enhancer("nuclei-2d")) as ours, ZipFile(tmp_path / "other.zip", "w") as other:
        for name in ours.namelist():
            content = ours.read(name)
            if name == "rdf.yaml":
                content = yaml.safe_dump(yaml.safe_load(content) | {"config": {}}).encode()
            other.writestr(name, content)
    with pytest.raises(InputError, match="can be applied but not trained"):
        open_start(TrainingSettings(weights=str(tmp_path / "other.zip")), spec(), "enhancer")


def test_from_the_command_line_bad_weights_end_in_a_sentence(data: Data, tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    values = labelled(data).model_dump(mode="json", exclude_unset=True)
    config.write_text(yaml.safe_dump(values))
    found = s2d("train", config, "--run", tmp_path / "run", "--set", "labelled_net.weights=nowhere")
    assert found.returncode == 2
    assert "nowhere: no trained network here" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_start_from_what_it_would_remove(data: Data, source_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    s2d_api.train(labelled(data), run)
    before = (run / "labelled_net" / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="trains anew and would remove"):
        s2d_api.train(labelled(data, weights=str(run)), run)
    assert (run / "labelled_net" / "weights.safetensors").read_bytes() == before


def test_what_is_frozen_must_be_taken(source_run: Path) -> None:
    settings = EnhancerSettings(weights=str(source_run / "enhancer"), frozen=("stem",))
    start = open_start(settings, spec(), "enhancer")
    assert start is not None
    with pytest.raises(InputError, match="no weights for the companion's stem"):
        start.require_frozen(replace(spec(), in_channels=2), settings.frozen, companion=True)
    start.require_frozen(replace(spec(), in_channels=2), ("down",), companion=True)


def test_weights_that_change_meanwhile_are_not_taken(source_run: Path, tmp_path: Path) -> None:
    place = shutil.copytree(source_run / "enhancer", tmp_path / "start")
    start = open_start(EnhancerSettings(weights=str(place)), spec(), "enhancer")
    assert start is not None
    shutil.copy(source_run / "source_net" / "weights.safetensors", place)
    with pytest.raises(InputError, match="has changed since"):
        start.give(spec().build())


def test_networks_that_a_training_kept_have_the_terms_of_its_stage(data: Data, tmp_path: Path) -> None:
    s2d_api.train(labelled(data, keep_best=1), tmp_path / "run")
    kept = next((tmp_path / "run" / "labelled_net" / "best").iterdir())
    found = load_spec(tmp_path / "run" / "labelled_net")
    start = open_start(TrainingSettings(weights=str(kept)), found, "labelled_net")
    assert start is not None
    assert start.licences == ["of the second"]

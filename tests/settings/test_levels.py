"""Defaults, user's file, config file and command line: what overrides what, and what is said of it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shallow2deep.errors import SettingsError
from shallow2deep.settings import (
    AdaptConfig,
    EnhancerTrainConfig,
    Level,
    dump_yaml,
    leaves,
    levels_of,
    merged,
    resolved,
    together,
)

Written = Callable[[dict[str, Any] | str], Path]


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes the user's file."""
    monkeypatch.delenv("S2D_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    path = tmp_path / "home" / "shallow2deep" / "settings.yaml"
    path.parent.mkdir(parents=True)

    def write(values: dict[str, Any] | str) -> Path:
        path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
        return path

    return write


def config_of(folder: Path, **values: object) -> Path:
    plain = {"target": {"raw": "raw.png", "strokes": "strokes.png"}, "enhancer": "nuclei-2d"}
    path = folder / "adapt.yaml"
    path.write_text(yaml.safe_dump(plain | values))
    return path


def test_each_level_overrides_those_before(users: Written, tmp_path: Path) -> None:
    users({"adapt": {"seed": 1, "held_out": 0.1, "jobs": 2, "enhanced": {"raw": False, "device": "cuda:1"}}})
    config = config_of(tmp_path, seed=2, held_out=0.2, enhanced={"block": [64, 64]})
    found = resolved(AdaptConfig, levels_of("adapt", config, ["seed=3"], {"device": "cpu"}))
    assert (found.seed, found.held_out, found.jobs, found.engine) == (3, 0.2, 2, "numba")
    assert found.enhanced.block == (64, 64)
    assert found.enhanced.device == "cpu"
    assert not found.enhanced.raw
    assert found.target.raw == (str(tmp_path / "raw.png"),)


def test_a_run_depends_on_a_setting_wherever_it_stands(users: Written, tmp_path: Path) -> None:
    """So a changed file of the user makes work stale as a changed config does."""
    elsewhere = resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path), ["target_forest.n_trees=9"]))
    users({"adapt": {"target_forest": {"n_trees": 9}}})
    users_own = resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path)))
    assert users_own == elsewhere
    assert dump_yaml(users_own) == dump_yaml(elsewhere)
    assert users_own.target_forest.deciding() == elsewhere.target_forest.deciding()
    assert users_own.target_forest.n_trees == 9


def test_each_command_has_a_section_of_its_own(users: Written, tmp_path: Path) -> None:
    users({"enhancer-train": {"jobs": 3, "wrong": 1}})
    assert resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path))).jobs == -1
    assert together(levels_of("enhancer-train"))[0] == {"jobs": 3, "wrong": 1}


def test_names_in_the_users_file_are_relative_to_it(users: Written, tmp_path: Path) -> None:
    path = users({"adapt": {"segmentor": {"weights": "nets/mine"}}})
    found = resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path)))
    assert found.segmentor is not None
    assert found.segmentor.weights == str(path.parent / "nets/mine")


def test_what_is_used_of_the_users_file_is_said(
    users: Written, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = users({"adapt": {"seed": 1, "jobs": 2, "enhanced": {"raw": False}}})
    caplog.set_level(logging.INFO, "shallow2deep")
    resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path, seed=5)))
    assert caplog.messages == [f"from {path}: enhanced.raw, jobs"]
    caplog.clear()
    resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path, jobs=1, seed=5, enhanced={"raw": True})))
    assert not caplog.messages


BOMB = "adapt: &a0 {x: 1}\n" + "\n".join(
    f"k{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(12)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("adapt: {jbos: 2}", 'unknown setting "jbos"; did you mean "jobs"'),
        ("adapt: {enhanced: {blok: [1, 1]}}", 'unknown setting "enhanced.blok"; did you mean "block"'),
        ("adpat: {}", 'unknown setting "adpat"; did you mean "adapt"'),
        ("jobs: 2", 'unknown setting "jobs"'),
        ("adapt: {jobs: two}", "jobs: Input should be a valid integer"),
        ("adapt: {compare: {supervised: true}}", "compare.supervised needs dense labels"),
        ("adapt: [1, 2]", "adapt: Input should be a valid dictionary"),
        ("- adapt", "a mapping of settings was expected, not list"),
        ("adapt: {jobs: [", "cannot be read as settings"),
        (BOMB, "it has more than 100000 values"),
        ("adapt: &a {b: *a}", "in itself"),
        ("adapt: !!python/object/apply:os.system [true]", "no type of settings"),
    ],
)
def test_problems_in_the_users_file_name_it(text: str, problem: str, users: Written, tmp_path: Path) -> None:
    path = users(text)
    with pytest.raises(SettingsError) as refused:
        resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path)))
    assert str(path) in str(refused.value)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_problems_of_several_places_are_told_apart(users: Written, tmp_path: Path) -> None:
    path, config = users({"adapt": {"jobs": 0}}), config_of(tmp_path, sede=1)
    with pytest.raises(SettingsError) as refused:
        resolved(AdaptConfig, levels_of("adapt", config, ["held_out=2"]))
    for place, problem in (
        (path, "jobs: a number of jobs"),
        (config, 'unknown setting "sede"'),
        ("the command line", "held_out: "),
    ):
        assert f"{place}: {problem}" in str(refused.value)


def test_what_is_missing_is_asked_of_the_config_file(users: Written, tmp_path: Path) -> None:
    users({"adapt": {"jobs": 2}})
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    with pytest.raises(SettingsError, match=r'empty.yaml: the setting "target" is missing'):
        resolved(AdaptConfig, levels_of("adapt", tmp_path / "empty.yaml"))
    with pytest.raises(SettingsError, match=r'^the command line: the setting "target" is missing'):
        resolved(AdaptConfig, levels_of("adapt"))


def test_another_file_can_be_named(users: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users({"adapt": {"seed": 1}})
    (tmp_path / "other.yaml").write_text("adapt: {seed: 7}")
    for stated, seed in ((tmp_path / "other.yaml", 7), ("", 1)):
        monkeypatch.setenv("S2D_CONFIG", str(stated))
        assert resolved(AdaptConfig, levels_of("adapt", config_of(tmp_path))).seed == seed
    monkeypatch.setenv("S2D_CONFIG", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(SettingsError, match=r"S2D_CONFIG names .*nowhere.yaml, where there is no file"):
        levels_of("adapt")


def test_a_users_file_that_cannot_be_read_is_refused(users: Written) -> None:
    path = users("")
    assert [level.values for level in levels_of("adapt")] == [{}, {}]
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(SettingsError, match=f"{path}: cannot be read as settings"):
        levels_of("adapt")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SettingsError, match="it is no file"):
        levels_of("adapt")


def test_without_a_users_file_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S2D_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which its specification says to ignore
    assert [level.kind for level in levels_of("adapt")] == ["command line"]
    (tmp_path / ".config" / "shallow2deep").mkdir(parents=True)
    (tmp_path / ".config" / "shallow2deep" / "settings.yaml").write_text("adapt: {jobs: 1}")
    assert [level.kind for level in levels_of("adapt")] == ["user's file", "command line"]


NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
    ),
    max_size=3,
)


@given(st.lists(TREES, min_size=1, max_size=4))
def test_of_each_setting_the_last_level_that_touches_it_decides(trees: list[dict[str, Any]]) -> None:
    levels = [Level(str(n), tree) for n, tree in enumerate(trees)]
    values, origins = together(levels)
    assert [path for path, _ in leaves(values)] == [path for path, _ in leaves(origins)]
    found = {path: dict(leaves(levels[int(level.kind)].values))[path] for path, level in leaves(origins)}
    assert found == dict(leaves(values))
    for path, level in leaves(origins):
        for later in trees[int(level.kind) + 1 :]:
            touched = [other for other, _ in leaves(later) if path[: len(other)] == other]
            assert not touched, f"{path} of level {level.kind} was overridden"
    for path, value in leaves(trees[-1]):  # nothing comes after the last one
        assert dict(leaves(values))[path] == value


@given(TREES, TREES, TREES)
def test_levels_can_be_merged_in_any_grouping(a: dict, b: dict, c: dict) -> None:
    before = str((a, b))
    assert merged(a, merged(b, {})) == merged(a, b)
    assert merged(merged({}, a), b) == merged(a, b)
    assert merged(a, a) == a
    assert str((a, b)) == before
    assert set(merged(merged(a, b), c)) == set(a) | set(b) | set(c)


def test_the_source_net_is_like_the_enhancer_of_all_levels(users: Written, tmp_path: Path) -> None:
    from shallow2deep.settings.source import of_source_net

    users({"enhancer-train": {"enhancer": {"steps": 7, "boundary": True, "raw": True}}})
    (tmp_path / "train.yaml").write_text("sources: [{raw: a.png, labels: b.png}]\nenhancer: {batch: 3}")
    levels = levels_of("enhancer-train", tmp_path / "train.yaml")
    levels.append(Level("command line", of_source_net(together(levels)[0])))
    net = resolved(EnhancerTrainConfig, levels).source_net
    assert net is not None
    assert (net.steps, net.batch) == (7, 3)

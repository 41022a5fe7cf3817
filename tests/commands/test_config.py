"""`s2d config`: what is set and by whom, and the schemas for editors."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_line import s2d

from shallow2deep.commands.config import schema
from shallow2deep.commands.init import template
from shallow2deep.settings import CONFIGS, levels_of, model_of, resolved

RECIPES = sorted((Path(__file__).resolve().parent.parent.parent / "pipelines").glob("*.yaml"))


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("adapt: {jobs: 2, enhanced: {device: cpu}, segmentor: {steps: 9}}")
    monkeypatch.setenv("S2D_CONFIG", str(path))
    return path


def test_each_value_has_an_origin(users: Path, tmp_path: Path) -> None:
    config = tmp_path / "adapt.yaml"
    config.write_text("seed: 4\ntarget: {raw: a.png, strokes: b.png, stroke_classes: {3: 1, 7: 2}}\n")
    more = ["--set", "enhancer=nuclei-2d", "--set", "segmentor.batch=3", "--set", "target.stroke_classes.9=2"]
    told = s2d("config", "show", "adapt", config, *more, "--json")
    assert told.returncode == 0
    rows = {row["setting"]: row for row in json.loads(told.stdout)}
    for name, value, level, file in (
        ("seed", 4, "config file", str(config)),
        ("jobs", 2, "user's file", str(users)),
        ("segmentor.steps", 9, "user's file", str(users)),
        ("segmentor.batch", 3, "command line", None),
        ("segmentor.rounds", 1, "default", None),
        ("enhancer", "nuclei-2d", "command line", None),
        ("target.raw", str(tmp_path / "a.png"), "config file", str(config)),
        ("target.stroke_classes.7", 2, "config file", str(config)),
        ("target.stroke_classes.9", 2, "command line", None),
    ):
        assert rows[name] == {"setting": name, "value": value, "level": level, "file": file}
    lines = s2d("config", "show", "adapt", config, *more).stdout.splitlines()
    assert len(lines) == len(rows)
    assert [line.split() for line in lines if line.startswith("jobs ")] == [
        ["jobs", "user's", "file", str(users), "2"]
    ]


@pytest.mark.parametrize("command", CONFIGS)
def test_the_values_are_those_that_the_command_takes(command: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(template(command))
    rows = json.loads(s2d("config", "show", command, path, "--json").stdout)
    dumped = resolved(CONFIGS[command], levels_of(command, path)).model_dump(mode="json")
    names = set()
    for row in rows:
        first, *rest = row["setting"].split(".")
        value = dumped[first]
        for part in rest:
            value = value[part]
        if row["level"] == "default":
            assert row["value"] == value, row
        names.add(first)
    assert names == set(dumped)


def test_what_is_missing_can_be_shown_but_not_what_is_wrong(users: Path, tmp_path: Path) -> None:
    told = s2d("config", "show", "adapt")
    assert told.returncode == 0
    assert ["enhancer", "missing"] in [line.split() for line in told.stdout.splitlines()]
    users.write_text("adapt: {jbos: 2}")
    wrong = s2d("config", "show", "adapt", "--json")
    assert wrong.returncode == 2
    assert f'{users}: unknown setting "jbos"' in wrong.stderr
    assert {"setting": "jbos", "value": 2, "level": "user's file", "file": str(users)} in json.loads(
        wrong.stdout
    )
    for words in (["show", "predict"], ["schema", "predict"]):
        assert "takes no file of settings" in s2d("config", *words).stderr


def checked(command: str) -> jsonschema.Draft202012Validator:
    found = schema(command)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_schema_takes_what_we_take(recipe: Path) -> None:
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    command = "enhancer-train" if "sources" in values else "adapt"
    part = {name: value for name, value in values.items() if name in CONFIGS[command].model_fields}
    assert len(part) > 2
    assert not list(checked(command).iter_errors(part))


@pytest.mark.parametrize(
    ("command", "values", "right"),
    [
        ("adapt", {"target": {"raw": "a.png", "strokes": ["b.png", "c.png"]}}, True),
        ("adapt", {"segmentor": None, "enhancer": "nuclei-2d"}, True),
        ("adapt", {"target": {"channel": 1, "slices": "0:4", "labels": "a.png"}}, True),
        ("adapt", {"enhanced": {"blok": [1, 1]}}, False),
        ("adapt", {"held_out": 2}, False),
        ("adapt", {"target": {"raw": 5}}, False),
        ("enhancer-train", {"sources": [{"raw": "a.png"}]}, False),
        ("enhancer-train", {"sources": [{"raw": "a.png", "labels": "b.png"}], "jobs": 2}, True),
    ],
)
def test_the_schema_refuses_what_we_refuse(command: str, values: dict, right: bool) -> None:
    assert (not list(checked(command).iter_errors(values))) is right


@pytest.mark.parametrize("command", CONFIGS)
def test_the_schema_describes_settings_and_nothing_else(command: str) -> None:
    found = schema(command)
    assert found["properties"].keys() == model_of(command).model_fields.keys()
    assert '"decides"' not in json.dumps(found)
    assert '"metavar"' not in json.dumps(found)
    assert not list(checked(command).iter_errors(yaml.safe_load(template(command))))

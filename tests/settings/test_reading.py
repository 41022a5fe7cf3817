"""Settings from files and command lines."""

import os
from pathlib import Path

import pytest
import yaml

from shallow2deep.errors import SettingsError
from shallow2deep.settings import EnhancerTrainConfig, read_yaml, validated, with_overrides


def test_overrides() -> None:
    values = with_overrides(
        {"enhancer": {"steps": 1}}, ["enhancer.steps=5", "seed=3", "enhancer.patch=[8, 8]"]
    )
    assert values == {"enhancer": {"steps": 5, "patch": [8, 8]}, "seed": 3}
    for wrong in ("enhancer.steps", "seed=[", "a." * 3000 + "b=1"):
        with pytest.raises(SettingsError):
            with_overrides({"enhancer": {"steps": 1}}, [wrong])


HOSTILE = {
    "a date that is none": "2001-99-99",
    "a date": "2001-12-14",
    "no number": "!!int abc",
    "an empty number": '!!int ""',
    "no boolean": "!!bool abc",
    "no float": "!!float abc",
    "a long number": "9" * 5000,
    "a long hexadecimal number": "0x" + "f" * 5000,
    "a long sexagesimal number": "1" + ":59" * 3000,
    "a long sexagesimal float": "1" + ":59" * 3000 + ".5",
    "a list in itself": "&a [*a]",
    "a mapping in itself": "&a {b: *a}",
    "a key in itself": "&a {*a : 1}",
    "deep lists": "[" * 3000 + "]" * 3000,
    "deep mappings": "{a: " * 3000 + "}" * 3000,
    "another type": "!!timestamp 2001-12-14",
    "a set": "!!set {1, 2}",
    "code": "!!python/object/apply:os.system [true]",
    "bytes": "!!binary AAAA",
    "half a list": "[1, 2",
    "two documents": "1\n---\n2",
    "a tabulator": "a:\n\t- b",
    "an unknown alias": "*a",
    "repeated without end": "["
    + ", ".join(f"&a{n + 1} [{', '.join([f'*a{n}' if n else '1'] * 9)}]" for n in range(12))
    + "]",
    "merged without end": "{a0: &a0 {x: 1}, "
    + ", ".join(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}" for n in range(12))
    + "}",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_values_are_one_sentence(what: str, tmp_path: Path) -> None:
    """In files and on the command line."""
    (tmp_path / "config.yaml").write_text(f"seed: {HOSTILE[what]}\n")
    for read in (
        lambda: read_yaml(tmp_path / "config.yaml"),
        lambda: with_overrides({}, [f"seed={HOSTILE[what]}"]),
    ):
        with pytest.raises(SettingsError) as refused:
            validated(EnhancerTrainConfig, {"classes": ["a", "b"], "sources": []} | read(), "test")
        assert refused.value.exit_code == 2
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 1000


def test_plain_values_are_read_as_before(tmp_path: Path) -> None:
    text = (
        "&x {a: [1, 2.5, true, null, ~, text, '1', 0x1f, 1e3, 1.0e+3, .inf], b: &b {c: 1}, d: {<<: *b, e: 2}}"
    )
    (tmp_path / "config.yaml").write_text(text)
    assert read_yaml(tmp_path / "config.yaml") == yaml.safe_load(text)


def test_a_file_of_settings_is_bounded(tmp_path: Path) -> None:
    os.truncate(os.open(tmp_path / "large.yaml", os.O_CREAT | os.O_WRONLY), 10**9)
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"classes: [\xe4]")
    for name in ("large.yaml", "pipe.yaml", "latin.yaml", "none.yaml", "."):
        with pytest.raises(SettingsError, match="cannot be read as settings"):
            read_yaml(tmp_path / name)


def test_a_name_of_any_length_is_a_name(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        assert with_overrides({}, ['enhancer="' + name.replace("\0", "\\0") + '"'])["enhancer"] == name

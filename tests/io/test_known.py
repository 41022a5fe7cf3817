"""Facts about files hold while the files stay as they are."""

import json
import os
from pathlib import Path

import pytest

from shallow2deep.io.known import Known


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(b"one")
    os.utime(path, (1e9, 1e9))
    return path


def test_a_fact_is_found_once_also_by_the_next_process(file: Path, tmp_path: Path) -> None:
    found = []

    def find() -> int:
        found.append(1)
        return 7

    known = Known(tmp_path / "known.json")
    assert [known.fact(file, "seven", find) for _ in range(2)] == [7, 7]
    known.save()
    assert Known(tmp_path / "known.json").fact(file, "seven", find) == 7
    assert len(found) == 1


@pytest.mark.parametrize("change", ["content", "time", "size"])
def test_a_fact_about_a_file_that_changed_is_found_again(file: Path, tmp_path: Path, change: str) -> None:
    known = Known(tmp_path / "known.json")
    known.fact(file, "fact", lambda: "old")
    known.save()
    if change == "content":
        file.write_bytes(b"two")
    elif change == "time":
        os.utime(file, (2e9, 2e9))
    else:
        file.write_bytes(b"longer")
        os.utime(file, (1e9, 1e9))
    assert Known(tmp_path / "known.json").fact(file, "fact", lambda: "new") == "new"


def test_a_file_that_has_just_changed_is_looked_at_again(file: Path, tmp_path: Path) -> None:
    """It may change again within the resolution of its time."""
    os.utime(file)
    known = Known(tmp_path / "known.json")
    known.fact(file, "fact", lambda: "old")
    known.save()
    assert Known(tmp_path / "known.json").fact(file, "fact", lambda: "new") == "new"


def test_what_changes_while_it_is_read_is_not_remembered(file: Path) -> None:
    def change() -> str:
        file.write_bytes(b"changed meanwhile")
        return "half old, half new"

    known = Known()
    known.fact(file, "fact", change)
    assert known.sha256(file) != "half old, half new"
    assert known.fact(file, "fact", lambda: "whole") == "whole"


def test_folders_count_with_all_that_is_in_them(tmp_path: Path) -> None:
    inner = tmp_path / "array.zarr" / "c"
    inner.mkdir(parents=True)
    (inner / "0").write_bytes(b"chunk")
    known = Known()
    before = known.sha256(tmp_path / "array.zarr")
    (inner / "1").write_bytes(b"another")
    assert known.sha256(tmp_path / "array.zarr") != before


def test_checks_are_passed_once(tmp_path: Path) -> None:
    calls = []
    known = Known(tmp_path / "known.json")
    for name in ("a", "a", "b"):
        known.once(name, lambda name=name: calls.append(name))
    known.save()
    Known(tmp_path / "known.json").once("a", lambda: calls.append("again"))
    assert calls == ["a", "b"]


def test_a_check_that_fails_is_made_again() -> None:
    known = Known()

    def fail() -> None:
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):
            known.once("a", fail)


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"fact": 3}', '{"fact": {"file": 1}}', "\x00"])
def test_a_damaged_memory_is_no_memory(file: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "known.json").write_text(content)
    assert Known(tmp_path / "known.json").fact(file, "fact", lambda: "found") == "found"


@pytest.mark.parametrize("value", [5, None, [], {}])
def test_a_remembered_checksum_that_is_none_is_a_string_all_the_same(
    file: Path, tmp_path: Path, value: object
) -> None:
    state = f"{file.stat().st_mtime_ns} {file.stat().st_size}"
    facts = {f"sha256 {file.resolve()}": {"file": state, "value": value}}
    (tmp_path / "known.json").write_text(json.dumps(facts))
    assert isinstance(Known(tmp_path / "known.json").sha256(file), str)

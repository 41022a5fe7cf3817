"""What is done of a zarr that is not finished."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from shallow2deep.io.block_store import Unfinished, folder_of


def test_half_a_line_is_cut_off_and_whole_ones_stay(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    place = Unfinished(target, {"n": 1})
    place.map.mkdir()
    place.note([("a 0", None), ("a 1", [2.0])])
    journal = next(path for path in folder_of(target).iterdir() if b"a 0" in _bytes(path))
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'["a 2"')
    again = Unfinished(target, {"n": 1})
    assert again.done() == {"a 0": None, "a 1": [2.0]}
    assert journal.read_bytes() == whole


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_what_is_half_removed_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.zarr"
    place = Unfinished(target, {"n": 1})
    place.map.mkdir()
    place.note([("a 0", None)])

    def killed(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        Unfinished(target, {"n": 2})
    assert Unfinished(target, {"n": 1}).done() == {}

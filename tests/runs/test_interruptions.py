"""What changes on the disk while a run is interrupted is noticed, told and made again."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny import Data, artifacts

from shallow2deep import adapt, enhancer_train
from shallow2deep.errors import InputError
from shallow2deep.runs.done import DoneLog
from shallow2deep.training import loop


class Stopped(Exception):
    pass


def stop_after(owner: type, method: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a method end the work when it has done its own as often."""
    original, calls = getattr(owner, method), []

    def counted(*arguments: Any) -> None:
        original(*arguments)
        calls.append(1)
        if len(calls) >= times:
            raise Stopped

    monkeypatch.setattr(owner, method, counted)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def test_flipped_bits(
    data: Data,
    source_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In a forest, in a chunk of the pool and in a checkpoint: the results are those of a whole run."""
    run, config = tmp_path / "run", data.source(source_net={**data.source_values()["enhancer"]})

    def interrupted(owner: type, method: str, times: int) -> None:
        with monkeypatch.context() as patched, pytest.raises(Stopped):
            stop_after(owner, method, times, patched)
            enhancer_train(config, run)

    with caplog.at_level(logging.WARNING):
        interrupted(DoneLog, "add", 3)
        forest = next((run / "forests").glob("forest_*.npz"))
        flip_a_bit(forest)
        interrupted(DoneLog, "add", 12)
        assert f"{forest.name} is no longer what was written" in caplog.text
        chunk = next(path for path in (run / "probabilities").rglob("c/*/*/*/*/*") if path.is_file())
        flip_a_bit(chunk)
        interrupted(loop._TrainingState, "save", 2)
        assert "probabilities: training" in caplog.text
        flip_a_bit(sorted((run / "enhancer" / "checkpoints").iterdir())[-1])
        enhancer_train(config, run)
        assert "step_000000008.pt is damaged" in caplog.text
    assert artifacts(run) == artifacts(source_run)


def test_an_input_that_changes_while_a_stage_works_is_noticed(
    data: Data, source_run: Path, target_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it is put back: what was made from it in between does not stay."""
    from shallow2deep.stages import target_forest

    own = Data(Path(shutil.copytree(data.folder, tmp_path / "data")))
    raw = own.folder / "target2_raw.png"
    before, grown = raw.read_bytes(), target_forest.grown

    def meddle(*arguments: object) -> object:
        raw.write_bytes((own.folder / "target3_raw.png").read_bytes())
        forest = grown(*arguments)  # type: ignore[arg-type]
        raw.write_bytes(before)
        return forest

    config, run = own.target(source_run), tmp_path / "run"
    monkeypatch.setattr(target_forest, "grown", meddle)
    with pytest.raises(
        InputError, match=r"target2_raw.png has changed while the stage target_forest read it"
    ):
        adapt(config, run)
    assert not (run / "target_forest").exists()
    monkeypatch.undo()
    adapt(config, run)
    for path in (target_run / "target_forest").glob("*.h5"):
        assert (run / "target_forest" / path.name).read_bytes() == path.read_bytes()

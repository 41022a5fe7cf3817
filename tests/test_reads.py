"""How often files are read: inputs once in a run, and not at all by a run that is finished."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import SEGMENTOR, Data

from shallow2deep import adapt, enhancer_train
from shallow2deep.inputs import models
from shallow2deep.io import map_files, volumes
from shallow2deep.runs import engine
from shallow2deep.runs.job import Job


class Reads:
    """Counts what is read of files: pixels, maps and networks, by stage and name."""

    def __init__(self) -> None:
        self.stage = "opening"
        self.pixels: Counter[tuple[str, str]] = Counter()
        self.networks = 0

    def of(self, ending: str) -> Counter[str]:
        """Most readings of a file whose name ends so, in one stage."""
        found: Counter[str] = Counter()
        for (stage, name), count in self.pixels.items():
            if name.endswith(ending):
                found[stage] = max(found[stage], count)
        return found

    def in_all(self, ending: str) -> int:
        """Most readings of such a file in all stages together."""
        totals: Counter[str] = Counter()
        for (_, name), count in self.pixels.items():
            if name.endswith(ending):
                totals[name] += count
        return max(totals.values(), default=0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reads]:
    counted = Reads()
    read_file, run_stage, load = volumes._read_file, engine._run_stage, models.load_package
    load_model = models.load_model

    def read(name: str, *rest: object) -> object:
        counted.pixels[counted.stage, name] += 1
        return read_file(name, *rest)  # type: ignore[arg-type]

    def run(job: Job, stage: engine.Stage, *rest: object) -> None:
        counted.stage = stage.name
        run_stage(job, stage, *rest)  # type: ignore[arg-type]

    def loaded(function: object) -> object:
        def count(*arguments: object) -> object:
            counted.networks += 1
            return function(*arguments)  # type: ignore[operator]

        return count

    monkeypatch.setattr(volumes, "_read_file", read)
    monkeypatch.setattr(engine, "_run_stage", run)
    monkeypatch.setattr(models, "load_package", loaded(load))
    monkeypatch.setattr(models, "load_model", loaded(load_model))
    return counted


@pytest.fixture
def settled(data: Data) -> Data:
    """The data as they are for people: not written a moment ago."""
    for path in data.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    return data


def _config(data: Data, source_run: Path):  # type: ignore[no-untyped-def]
    segmentor = SEGMENTOR | {"variants": ["plain"]}
    return data.target(source_run, segmentor=segmentor, compare={"source_net": True})


def test_an_adaptation_reads_each_raw_image_once_and_a_finished_one_none(
    settled: Data, source_run: Path, tmp_path: Path, reads: Reads
) -> None:
    config = _config(settled, source_run)
    adapt(config, tmp_path / "run")
    assert reads.in_all("_raw.png") == 1
    assert reads.in_all("_strokes.png") <= 2  # checked before work starts, read for work
    assert reads.networks == 1
    maps = reads.of("_raw.h5")
    # judging reads each candidate's map of an image once, the report those that it shows
    assert {stage: count for stage, count in maps.items() if count > 1} == {}
    assert reads.in_all("target_forest/target0_raw.h5") <= 4
    assert map_files.read_outputs(tmp_path / "run" / "enhanced" / "target0_raw.h5") is not None
    reads.pixels.clear()
    reads.networks = 0
    adapt(config, tmp_path / "run")
    assert not reads.pixels
    assert reads.networks == 0


def test_training_reads_each_image_once_and_a_finished_one_none(
    settled: Data, tmp_path: Path, reads: Reads
) -> None:
    config = settled.source(source_net=settled.source_values()["enhancer"])
    enhancer_train(config, tmp_path / "run")
    assert reads.in_all("_raw.png") == 1
    assert reads.in_all("_labels.png") == 1
    reads.pixels.clear()
    enhancer_train(config, tmp_path / "run")
    assert not reads.pixels


def test_a_raw_image_that_changed_is_read_again(
    settled: Data, source_run: Path, tmp_path: Path, reads: Reads
) -> None:
    adapt(settled.target(source_run), tmp_path / "run")
    reads.pixels.clear()
    os.utime(settled.folder / "target2_raw.png", (2e9, 2e9))
    adapt(settled.target(source_run), tmp_path / "run")
    assert {Path(name).name for _, name in reads.pixels} == {"target2_raw.png"}

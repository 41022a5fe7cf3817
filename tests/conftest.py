"""Fixtures for all tests."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side, of one thread each
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from tiny import N_IMAGES, PACKAGE, Data, disc_image

# The same examples in every run, however slow the machine is. Others come with
# --hypothesis-profile=search --hypothesis-seed=N.
_no_clock = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("search", **_no_clock)
settings.register_profile("repeatable", derandomize=True, **_no_clock)
settings.load_profile("repeatable")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole files to each worker, and all of the stages to one: what their tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    class ByFixtures(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = Path(nodeid.split("::")[0]).parent
            return str(folder) if folder.name == "stages" else super()._split_scope(nodeid)

    return ByFixtures(config, log)


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have a file of settings for all runs."""
    empty = tmp_path_factory.mktemp("settings") / "none.yaml"
    empty.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2D_CONFIG", str(empty))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real microscopy data, which is not part of the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("S2D_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set S2D_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def vigra_python() -> Path:
    """A Python that has vigra: the system's, by Debian's python3-vigra."""
    python = Path("/usr/bin/python3")
    if not python.exists() or subprocess.run([python, "-c", "import vigra"], capture_output=True).returncode:
        pytest.skip("vigra is not here; on Debian: apt install python3-vigra")
    return python


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The tiny data."""
    folder = tmp_path_factory.mktemp("data")
    for n in range(N_IMAGES):
        for name, seed, contrast in (("source", n, 50), ("target", 100 + n, 30)):
            raw, labels = disc_image(seed, contrast)
            iio.imwrite(folder / f"{name}{n}_raw.png", raw)
            iio.imwrite(folder / f"{name}{n}_labels.png", labels)
        strokes = np.zeros_like(labels)
        for row in (20, 40, 60, 80):
            strokes[row : row + 2] = np.where(labels[row : row + 2] > 0, 2, 1)
        iio.imwrite(folder / f"target{n}_strokes.png", strokes)
    return Data(folder)


@pytest.fixture(scope="session")
def source_run(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of enhancer-train on it, with a source net."""
    from shallow2deep import enhancer_train

    run = tmp_path_factory.mktemp("runs") / "source"
    enhancer_train(data.source(source_net={**data.source_values()["enhancer"]}), run)
    return run


@pytest.fixture(scope="session")
def target_run(data: Data, source_run: Path) -> Path:
    """A finished run of adapt with that run's enhancer."""
    from shallow2deep import adapt

    run = source_run.with_name("target")
    adapt(data.target(source_run), run)
    return run


@pytest.fixture(scope="session")
def exported(source_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That enhancer's package."""
    pytest.importorskip("bioimageio.core", reason="packages are tested by bioimageio.core, the extra export")
    from shallow2deep import export

    return export(source_run, tmp_path_factory.mktemp("exported") / "tiny.zip", overrides=PACKAGE)


@pytest.fixture
def package(exported: Path, tmp_path: Path) -> Path:
    """A copy of that package, in a folder of its own."""
    (tmp_path / "models").mkdir()
    return shutil.copy(exported, tmp_path / "models" / "tiny-discs.zip")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A trained 2D ilastik project of two lanes; its forest as forest.npz in `tmp_path`."""
    from ilp_file import trained_project

    return trained_project(tmp_path)

"""Fixtures for all tests."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, however slow the machine is. Others come with
# --hypothesis-profile=search --hypothesis-seed=N.
_no_clock = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("search", **_no_clock)
settings.register_profile("repeatable", derandomize=True, **_no_clock)
settings.load_profile("repeatable")


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

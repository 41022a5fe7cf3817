"""How `s2d` starts and is stopped: at any moment, with the exit code of the signal and no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WAITING = """
import sys, time
from shallow2deep import entry
sys.modules["shallow2deep.cli"] = type(sys)("cli")
def run():
    try:
        print("running", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
sys.modules["shallow2deep.cli"].main = run
entry.main()
"""
IMPORTING = """
import sys, time
from shallow2deep import entry
sys.path.insert(0, sys.argv[1])
def run():
    try:
        import slow
    except BaseException:
        print("swallowed", flush=True)
sys.modules["shallow2deep.cli"] = type(sys)("cli")
sys.modules["shallow2deep.cli"].main = run
entry.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_is_at_work(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "running\n"
        process.send_signal(number)
        out, error = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert out == "cleaned up\n"
    assert error == f"s2d: stopped by {number.name}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_library_is_imported(number: signal.Signals, tmp_path: Path) -> None:
    """Libraries catch whatever is raised then."""
    (tmp_path / "slow.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen(
        [sys.executable, "-c", IMPORTING, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (128 + number, "", "")


@pytest.mark.parametrize("pause", [0.3, 0.6, 1.0, 1.5])
def test_a_signal_while_a_command_starts(pause: float, tmp_path: Path) -> None:
    """From the moment on at which our code runs, which python -X importtime tells."""
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "shallow2deep",
        "predict",
        tmp_path,
        "--raw",
        "a.png",
    ]
    with subprocess.Popen(
        [*command, "--out", tmp_path / "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        while b"shallow2deep.entry" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(pause - 0.3)
        os.kill(process.pid, signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode in (143, 2)  # or it was through, as there is no run
    assert b"Traceback" not in error


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "shallow2deep", "--help"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "adapt" in found.stdout

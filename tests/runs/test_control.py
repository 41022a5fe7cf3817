"""Stop, pause and abort, asked by signals and by other processes."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from shallow2deep.errors import Aborted, Interrupted
from shallow2deep.runs.control import FILE, Control, request, withdraw


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    control = Control()
    before = signal.getsignal(number)
    with control.catching_signals():
        assert control.asked() is None
        os.kill(os.getpid(), number)
        assert control.asked() == "stop"
        with pytest.raises(Interrupted) as stopped:
            control.check()
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_another_process_asks_by_a_file(tmp_path: Path) -> None:
    request(tmp_path, "stop")
    with pytest.raises(Interrupted, match="on request") as stopped:
        Control(tmp_path).check()
    assert stopped.value.exit_code == 143
    request(tmp_path, "abort")
    with pytest.raises(Aborted) as given_up:
        Control(tmp_path).check()
    assert given_up.value.exit_code == 4


def test_a_paused_run_goes_on_when_the_request_is_gone(tmp_path: Path) -> None:
    control = Control(tmp_path)
    request(tmp_path, "pause")
    assert control.asked() == "pause"
    threading.Timer(0.5, withdraw, [tmp_path]).start()
    started = time.monotonic()
    control.check()
    assert time.monotonic() - started > 0.3
    assert control.asked() is None


def test_a_paused_run_can_be_stopped(tmp_path: Path) -> None:
    request(tmp_path, "pause")
    threading.Timer(0.3, request, [tmp_path, "abort"]).start()
    with pytest.raises(Aborted):
        Control(tmp_path).check()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"request": "fly"}', '{"request": ["stop"]}'])
def test_what_is_no_request_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert Control(tmp_path).asked() is None


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Control().catching_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]

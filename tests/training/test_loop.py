"""The training loop learns, and is the same for any number of workers and interruptions."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from shallow2deep.errors import LostWorkerError
from shallow2deep.networks.losses import loss_of
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import Output
from shallow2deep.progress import Bar
from shallow2deep.settings import Change, TrainingSettings
from shallow2deep.training.loop import Sample, train
from shallow2deep.training.objectives import Supervised
from shallow2deep.training.segments import samples_used


class Stopped(Exception):
    pass


class StopAfter(Bar):
    """From some step on it asks for the work to stop, and stops it."""

    def __init__(self, stop_after: int | None):
        super().__init__()
        self.stop_after, self.asked = stop_after, 0

    def asks(self) -> bool:
        self.asked += 1
        return self.stop_after is not None and self.asked >= self.stop_after

    def check(self) -> None:
        raise Stopped


class Discs:
    """Noisy discs, and the discs."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([1, index])
        y, x = np.indices((32, 32)) - rng.integers(8, 24, 2)[:, None, None]
        disc = (y**2 + x**2 < 36)[None]
        noisy = np.clip(0.7 * disc + rng.normal(0.15, 0.2, disc.shape), 0, 1)
        return torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy(disc.astype(np.uint8))


def settings(**changes: object) -> TrainingSettings:
    plain = {
        "batch": 4,
        "steps": 30,
        "validate_every": 10,
        "checkpoint_every": 10,
        "workers": 0,
        "learning_rate": 3e-3,
        "device": "cpu",
        "patch": (32, 32),
    }
    return TrainingSettings.model_validate(plain | changes)


BY_HAND = (
    Change(stage="enhancer", step=7, learning_rate=1e-3),
    Change(stage="enhancer", step=15, batch=2, steps=40, patience=5, validate_every=4),
)


def trained(
    folder: Path, stop_after: int | None = None, by_hand: Sequence[Change] = (), **changes: object
) -> tuple[dict, dict]:
    torch.manual_seed(0)
    network = UNet(1, 1, 4, ((2, 2), (2, 2)), (1, 1))
    chosen = settings(**changes)
    training, validation = Discs(samples_used(chosen, by_hand)), Discs(6)
    result = train(
        network,
        training,
        validation,
        chosen,
        folder,
        (Output("disc"),),
        Supervised(loss_of(chosen)),
        StopAfter(stop_after),
        changes=by_hand,
    )
    return network.state_dict(), result


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_learns_and_leaves_curves(tmp_path: Path) -> None:
    _, result = trained(tmp_path, steps=120, validate_every=20)
    assert result["best_score"] > 0.9
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_bytes_twice_and_for_any_number_of_workers(tmp_path: Path, precision: str) -> None:
    runs = [
        trained(tmp_path / str(n), workers=workers, precision=precision)[0]
        for n, workers in enumerate((0, 0, 1, 2))
    ]
    assert all(same(runs[0], other) for other in runs[1:])


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("stop_after", [1, 10, 17, 29])
def test_stopped_and_gone_on_gives_the_same_bytes(tmp_path: Path, stop_after: int, schedule: str) -> None:
    whole, result = trained(tmp_path / "whole", schedule=schedule)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", stop_after=stop_after, schedule=schedule)
    parts, again = trained(tmp_path / "parts", schedule=schedule)
    assert same(whole, parts)
    assert result == again


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_changes_while_it_goes_on_are_repeated_by_their_record(tmp_path: Path, schedule: str) -> None:
    """Made by hand at two steps, with stops before and between and after; or known from the beginning."""
    whole, result = trained(tmp_path / "whole", by_hand=BY_HAND, schedule=schedule)
    parts = ((5, 0), (2, 0), (3, 1), (5, 1), (9, 2))  # steps until it is stopped, and changes made until then
    for steps, made in parts:
        with pytest.raises(Stopped):
            trained(tmp_path / "parts", steps, BY_HAND[:made], schedule=schedule)
    again, told = trained(tmp_path / "parts", by_hand=BY_HAND, schedule=schedule)
    assert same(whole, again)
    assert result == told
    assert result["step"] == 40
    assert [change["step"] for change in result["changes"]] == [7, 15]
    assert not same(whole, trained(tmp_path / "plain", schedule=schedule)[0])


def test_a_checkpoint_of_other_changes_is_not_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = trained(tmp_path / "whole")
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", 12, BY_HAND[:1], checkpoint_every=7)
    assert same(whole, trained(tmp_path / "parts")[0])
    assert "step_000000012.pt comes from other changes by hand" in caplog.text


@pytest.mark.parametrize("loss", ["dice", "bce", "dice+bce"])
def test_every_loss_lowers_itself(tmp_path: Path, loss: str) -> None:
    _, result = trained(tmp_path, loss=loss, steps=80, validate_every=20)
    assert result["best_score"] > 0.5


def test_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    _, result = trained(tmp_path, steps=2000, validate_every=1, patience=3, learning_rate=1e-9)
    assert result["step"] < 100
    assert result["best_score"] == max(score for _, score in result["history"])


SCRIPT = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_loop import trained
kept = None
try:
    trained(Path(sys.argv[1]), stop_after=2, workers=2)
except Exception as error:
    kept = error
import psutil
print(type(kept).__name__, len(psutil.Process().children()), flush=True)
"""


def test_an_interrupted_training_lets_the_interpreter_end(tmp_path: Path) -> None:
    """Also where the script keeps the exception, and with it all that was on the stack."""
    here = Path(__file__).parent
    command = [sys.executable, "-c", SCRIPT, tmp_path, here, here.parent]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout.split()) == (0, ["Stopped", "0"])


class KillingWorkers(StopAfter):
    def asks(self) -> bool:
        for child in psutil.Process().children():
            child.kill()
        return False


def test_a_killed_worker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "StopAfter", KillingWorkers)
    with pytest.raises(LostWorkerError, match=r"fewer workers than 1") as lost:
        trained(tmp_path, workers=1, steps=1000)
    assert lost.value.exit_code == 1
    alive = [c for c in psutil.Process().children() if c.status() != psutil.STATUS_ZOMBIE]
    assert not alive

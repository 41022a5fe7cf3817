"""The training loop learns, and is the same for any number of workers and interruptions."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from shallow2deep.errors import LostWorkerError
from shallow2deep.inference.network_maps import predict_with_network
from shallow2deep.networks.losses import loss_of
from shallow2deep.networks.unet import UNet
from shallow2deep.outputs import Output
from shallow2deep.progress import Bar
from shallow2deep.settings import Change, TrainingSettings
from shallow2deep.training.keeping import Keeper
from shallow2deep.training.loop import train
from shallow2deep.training.objectives import Supervised
from shallow2deep.training.segments import samples_used
from shallow2deep.training.validation import Sample


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


PREVIEWS = {"0_mine": np.random.default_rng(3).random((1, 37, 50), np.float32)}


def save_weights(folder: Path, network: torch.nn.Module) -> None:
    save_file({n: t.contiguous() for n, t in network.state_dict().items()}, folder / "weights.safetensors")


BY_HAND = (
    Change(stage="enhancer", step=7, learning_rate=1e-3),
    Change(stage="enhancer", step=15, batch=2, steps=40, patience=20, validate_every=4),
)


def trained(
    folder: Path,
    stop_after: int | None = None,
    by_hand: Sequence[Change] = (),
    dropout: Sequence[float] = (),
    norm: str = "batch",
    **changes: object,
) -> tuple[dict, dict]:
    torch.manual_seed(0)
    network = UNet(1, 1, 4, ((2, 2), (2, 2)), (1, 1), dropout=dropout, norm=norm)
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
        keeper=Keeper(folder, chosen, save_weights),
        previews=PREVIEWS if chosen.previews else {},
    )
    return network.state_dict(), result


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_learns_and_leaves_curves(tmp_path: Path) -> None:
    _, result = trained(tmp_path, steps=120, validate_every=20)
    assert result["best_score"] > 0.9
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize(("precision", "numbers"), [("float32", (0, 0, 1, 2)), ("bfloat16", (0, 1))])
def test_same_bytes_twice_and_for_any_number_of_workers(
    tmp_path: Path, precision: str, numbers: tuple[int, ...]
) -> None:
    runs = [
        trained(tmp_path / str(n), workers=workers, precision=precision)[0]
        for n, workers in enumerate(numbers)
    ]
    assert all(same(runs[0], other) for other in runs[1:])


VARIANTS: dict[str, dict[str, Any]] = {
    "cosine": {},
    "plateau": {"schedule": "plateau", "plateau_patience": 0, "warm_up": 4},
    "sgd": {"optimizer": "sgd", "schedule": "exponential", "learning_rate": 0.1},
    "ema": {"ema": 0.8, "schedule": "steps", "rates": ((9, 1e-3), (20, 1e-4))},
    "accumulated": {"accumulate": 2, "batch": 2, "schedule": "constant", "warm_up": 6, "dropout": (0.2,)},
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict, dict]]:
    """What each variant gives that nothing stops."""
    return cache(lambda name: trained(tmp_path_factory.mktemp("plain"), **VARIANTS[name]))


STOPS = [
    *((name, at) for name in ("cosine", "plateau") for at in (1, 17)),
    *((name, 13) for name in VARIANTS if name not in ("cosine", "plateau")),
    *(pytest.param(name, at, marks=pytest.mark.slow) for name in ("cosine", "plateau") for at in (10, 29)),
]


@pytest.mark.parametrize(("name", "stop_after"), STOPS)
def test_stopped_and_gone_on_gives_the_same_bytes(
    plain: Callable[[str], tuple[dict, dict]], tmp_path: Path, stop_after: int, name: str
) -> None:
    whole, result = plain(name)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", stop_after=stop_after, **VARIANTS[name])
    parts, again = trained(tmp_path / "parts", **VARIANTS[name])
    assert same(whole, parts)
    assert result == again


@pytest.mark.parametrize(
    "name",
    ["plateau", "ema", "accumulated", *(pytest.param(n, marks=pytest.mark.slow) for n in ("cosine", "sgd"))],
)
def test_changes_while_it_goes_on_are_repeated_by_their_record(
    plain: Callable[[str], tuple[dict, dict]], tmp_path: Path, name: str
) -> None:
    """Made by hand at two steps, with stops before and between and after; or known from the beginning."""
    variant = VARIANTS[name]
    whole, result = trained(tmp_path / "whole", by_hand=BY_HAND, **variant)
    parts = ((5, 0), (2, 0), (3, 1), (5, 1), (9, 2))  # steps until it is stopped, and changes made until then
    for steps, made in parts:
        with pytest.raises(Stopped):
            trained(tmp_path / "parts", steps, BY_HAND[:made], **variant)
    again, told = trained(tmp_path / "parts", by_hand=BY_HAND, **variant)
    assert same(whole, again)
    assert result == told
    assert result["step"] == 40
    assert [change["step"] for change in result["changes"]] == [7, 15]
    assert not same(whole, plain(name)[0])


def test_a_checkpoint_of_other_changes_is_not_gone_on_from(
    plain: Callable[[str], tuple[dict, dict]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _ = plain("cosine")
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", 12, BY_HAND[:1], checkpoint_every=7)
    assert same(whole, trained(tmp_path / "parts")[0])
    assert "step_000000012.pt comes from other changes by hand" in caplog.text


@pytest.mark.parametrize("loss", ["dice", "bce", "focal", "tversky", {"dice": 1, "focal": 2}], ids=str)
def test_every_loss_lowers_itself(tmp_path: Path, loss: Any) -> None:
    _, result = trained(tmp_path, loss=loss, steps=80, validate_every=20)
    assert result["best_score"] > 0.5


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "radam", "rmsprop", "sgd"])
def test_every_optimizer_learns(tmp_path: Path, optimizer: str) -> None:
    rate = {"sgd": 0.3, "rmsprop": 1e-3, "radam": 1e-2}.get(optimizer, 3e-3)
    _, result = trained(tmp_path, optimizer=optimizer, learning_rate=rate, steps=60, weight_decay=1e-4)
    assert result["best_score"] > 0.5


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    """Without norm and Dice over the batch, two batches of two give the gradients of one of four."""

    def weights(**changes: Any) -> dict:
        return trained(tmp_path / str(changes), steps=3, loss="bce", norm="none", **changes)[0]

    once, twice, other = weights(batch=4), weights(batch=2, accumulate=2), weights(batch=2)
    assert all(torch.allclose(once[name], twice[name], atol=1e-5) for name in once)
    assert not all(torch.allclose(once[name], other[name], atol=1e-5) for name in once)


def test_the_running_mean_of_weights_is_what_is_kept(tmp_path: Path) -> None:
    """With a momentum that forgets at once it is the network itself."""
    plain, _ = trained(tmp_path / "plain", validate_every=30)
    forgetful, _ = trained(tmp_path / "forgetful", validate_every=30, ema=1e-12)
    slow, _ = trained(tmp_path / "slow", validate_every=30, ema=0.99)
    assert all(torch.allclose(plain[name].double(), forgetful[name].double(), atol=1e-6) for name in plain)
    assert not same(plain, slow)


def test_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    _, result = trained(tmp_path, steps=2000, validate_every=1, patience=3, learning_rate=1e-9)
    assert result["step"] < 100
    assert result["best_score"] == max(score for _, score in result["history"])


def test_ends_when_its_time_is_over_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After that step it is validated; with time enough nothing is said."""
    weights, result = trained(tmp_path / "short", max_runtime=1e-9)
    assert (result["step"], [step for step, _ in result["history"]]) == (1, [1])
    assert result["ended"] == "training ended by its max_runtime of 1e-09 min at step 1 of 30"
    assert result["ended"] in caplog.text
    plain, long = trained(tmp_path / "plain"), trained(tmp_path / "long", max_runtime=60)
    assert same(plain[0], long[0])
    assert plain[1] == long[1]
    assert not same(weights, plain[0])


def test_the_time_of_all_parts_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that ticks at each look; the second part goes on with the time of the first."""
    ticks = count()
    monkeypatch.setattr("shallow2deep.training.loop.time.monotonic", lambda: float(next(ticks)))
    whole = trained(tmp_path / "whole", max_runtime=1)[1]["step"]
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", whole - 3, max_runtime=1)
    assert trained(tmp_path / "parts", max_runtime=1)[1]["step"] == whole < 30


def kept(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.safetensors")}


def test_snapshots_and_the_best_are_kept_and_the_same_after_a_stop(tmp_path: Path) -> None:
    changes = {"snapshot_every": 8, "keep_best": 2, "validate_every": 6}
    weights, result = trained(tmp_path / "whole", **changes)
    found = kept(tmp_path / "whole")
    ranked = sorted(result["history"], key=lambda entry: (-entry[1], entry[0]))
    steps = [("snapshots", step) for step in (8, 16, 24)] + [("best", step) for step, _ in ranked[:2]]
    assert found.keys() == {f"{kind}/step_{step:09d}/weights.safetensors" for kind, step in steps}
    best = load_file(tmp_path / "whole" / "best" / f"step_{result['best_step']:09d}" / "weights.safetensors")
    assert same(weights, best)
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", 17, **changes, checkpoint_every=5)
    (tmp_path / "parts" / "checkpoints" / "step_000000017.pt").write_bytes(b"damaged")
    trained(tmp_path / "parts", **changes)
    assert kept(tmp_path / "parts") == found


def test_snapshots_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr("shallow2deep.training.loop.time.monotonic", lambda: float(next(ticks)))
    trained(tmp_path, snapshot_minutes=0.5, steps=20)
    assert 1 < len(kept(tmp_path)) < 10


def test_previews_are_what_the_network_gives(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"previews": ("mine.png",), "preview_every": 20, "validate_every": 30}
    weights, _ = trained(tmp_path, **changes)
    names = ["0_mine_step0000020.png", "0_mine_step0000030.png"]
    assert sorted(p.name for p in (tmp_path / "previews").iterdir()) == names
    network = UNet(1, 1, 4, ((2, 2), (2, 2)), (1, 1))
    network.load_state_dict(weights)
    expected = predict_with_network(network, PREVIEWS["0_mine"])[0]
    drawn = iio.imread(tmp_path / "previews" / names[1])
    assert drawn.shape == (37, 100)
    assert np.abs(drawn[:, 50:] / 255 - expected).max() < 1 / 254


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

"""Trains one network: samples in, the best weights out, with checkpoints on the way."""

import copy
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from shallow2deep.errors import LostWorkerError, NotFiniteError
from shallow2deep.io.atomic import write_bytes
from shallow2deep.networks.devices import choose_device, use_bfloat16
from shallow2deep.networks.starting import frozen_parts
from shallow2deep.outputs import Output
from shallow2deep.progress import Bar, Watch
from shallow2deep.seeding import integer_seed
from shallow2deep.settings import Change, TrainingSettings
from shallow2deep.training.checkpoints import load_checkpoint, save_checkpoint
from shallow2deep.training.keeping import Keeper
from shallow2deep.training.objectives import Forward, Objective, follow
from shallow2deep.training.preview_pictures import draw_previews
from shallow2deep.training.schedules import factor_of, optimizer_of, rate_set_at, rise_of, scheduler_of
from shallow2deep.training.score_table import ScoreTable
from shallow2deep.training.segments import Segment, segment_at, segments
from shallow2deep.training.validation import Judge, Sample, Samples, dice_of

log = logging.getLogger(__name__)

BatchChange = Callable[[Tensor, Tensor, int], Sample]
"""Of a batch, inputs and targets; depends on them and the step alone."""


def train(
    network: nn.Module,
    training: Samples,
    validation: Samples,
    settings: TrainingSettings,
    folder: Path,
    outputs: Sequence[Output],
    objective: Objective,
    watch: Watch | None = None,
    change: BatchChange | None = None,
    changes: Sequence[Change] = (),
    steer: Callable[[int], None] = lambda step: None,
    seed: int = 0,
    keeper: Keeper | None = None,
    previews: Mapping[str, np.ndarray] | None = None,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Trains `network` in place and leaves the weights with the best validation score in it.

    Args:
        training: at least `samples_used(settings, changes)` samples; without changes, sample i is used at
            step i // batch.
        validation: judged every `validate_every` steps.
        objective: what is minimised.
        folder: gets `checkpoints/` and `tensorboard/`, the latter with a table and charts of validations; a
            checkpoint found there is gone on from.
        watch: told after each step, and asked; a checkpoint is written before the work pauses or ends.
        change: what is done to each batch of training samples: on a CPU where samples are prepared, else on
            the network's device.
        changes: of the settings, by hand, each from a step on.
        steer: called with the number of steps made when `watch` asks; may end the work, to go on from its
            checkpoint with more changes.
        seed: of what networks draw in training, such as dropout.
        keeper: of networks at some steps, and of the best.
        previews: images by name, as the network takes them, that are drawn as it maps them.
        judge: of the validation; Dice at 0.5, averaged over outputs, if not given.

    Returns:
        `step`, `best_step`, `best_score`, the `history` of scores, the
        `changes` that there were, and how it `ended` if its time was over before its steps.

    Raises:
        NotFiniteError: loss or weights became NaN or infinite; the last good checkpoint stays.
        LostWorkerError: a process that prepares samples was killed.
        Whatever `watch.check` raises.
    """
    from shallow2deep.training.curves import Curves  # slow to import

    watch = watch or Bar()
    judge, device = judge or dice_of(outputs), choose_device(settings.device)
    bfloat16 = use_bfloat16(settings.precision, device)
    layout = torch.channels_last_3d if len(settings.patch) == 3 else torch.channels_last
    network.to(device, memory_format=layout)  # type: ignore[call-overload]
    frozen = [part.requires_grad_(False) for part in frozen_parts(network, settings.frozen)]
    state = _TrainingState(network, settings, objective, changes)
    state.restore(folder / "checkpoints")
    if keeper:
        keeper.forget_after(state.step)
    table = ScoreTable(folder / "tensorboard", state.step)

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits: Tensor = model(inputs.to(device).contiguous(memory_format=layout))
        return logits.float()

    def predict(inputs: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits: Tensor = state.validated(inputs.to(device))
        return logits.float().cpu()

    waited, started = 0.0, time.monotonic()
    with (
        _batches(training, state.parts, state.step, change if device.type == "cpu" else None) as batches,
        Curves(folder / "tensorboard", state.step) as curves,
    ):
        while state.goes_on():
            settings = state.settings
            asked, before = time.monotonic(), state.seconds
            inputs, targets = next(batches)
            waited += time.monotonic() - asked
            inputs, targets = inputs.to(device), targets.to(device)
            if change and device.type != "cpu":
                inputs, targets = change(inputs, targets, state.step)
            network.train()
            for part in frozen:
                part.eval()  # nor do their statistics change
            with _seeded(seed, state.step, device):
                value = state.backward(forward, inputs, targets)
            state.update()
            objective.after_step(network)
            watch.progress("training", state.step, settings.steps, loss=value, **state.best)
            state.losses.append(value)
            curves.scalar("training/loss", value, state.step)
            curves.scalar("training/learning_rate", state.optimizer.param_groups[0]["lr"], state.step)

            state.seconds = before + time.monotonic() - asked
            last = state.step == settings.steps or state.is_out_of_time
            due = state.step % settings.validate_every == 0 or last
            stop = watch.asks()
            save = stop or state.step % settings.checkpoint_every == 0
            if due or save:
                state.require(_is_finite(network), "weights became NaN or infinite")
            if due:
                state.validated.eval()
                judged = judge(predict, validation, settings.batch)
                for name, score in judged.scores.items():
                    curves.scalar(f"validation/{name}", score, state.step)
                curves.picture("validation/input_truth_prediction", judged.picture, state.step)
                _save_picture(folder / "tensorboard" / "validation.png", judged.picture, watch)
                table.add(state.step, {"loss": state.mean_loss, **judged.scores})
                state.note_score(judged.score)
                if keeper:
                    keeper.after_score(state.validated, state.history)
            if previews and (last or state.step % settings.preview_every == 0):
                for path in draw_previews(folder, previews, state.validated, state.step, device):
                    watch.picture("a preview", path)
            state.seconds = before + time.monotonic() - asked
            if keeper:
                keeper.after_step(state.validated, state.step, (before, state.seconds))
            if save:
                state.save(folder / "checkpoints")
            if stop:
                steer(state.step)
                watch.check()
    table.draw()
    elapsed = max(time.monotonic() - started, 1e-9)
    log.info(
        "trained to step %d; %.1f %% of the time waiting for samples", state.step, 100 * waited / elapsed
    )
    ended = state.ended
    if ended:
        log.warning("%s", ended)
    network.load_state_dict(state.best_weights)
    return {
        "step": state.step,
        "best_step": state.best_step,
        "best_score": round(state.best_score, 6),
        "history": state.history,
        **({"ended": ended} if ended else {}),
        **({"changes": _plain(changes)} if changes else {}),
    }


def _plain(changes: Sequence[Change]) -> list[dict[str, Any]]:
    return [{"step": change.step, **change.values} for change in changes]


@contextmanager
def _seeded(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """What a network draws depends on the seed and the step alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(integer_seed(seed, "network draws", step))
        yield


def _is_finite(network: nn.Module) -> bool:
    return all(bool(t.isfinite().all()) for t in network.state_dict().values())


def _save_picture(path: Path, picture: Tensor, watch: Watch) -> None:
    pixels = (picture.clamp(0, 1) * 255).byte().movedim(0, -1).squeeze(-1).numpy()
    write_bytes(path, iio.imwrite("<bytes>", pixels, extension=".png"))
    watch.picture("input, truth and prediction of a validation sample", path)


class _TrainingState:
    """Everything that a checkpoint holds."""

    def __init__(
        self,
        network: nn.Module,
        settings: TrainingSettings,
        objective: Objective,
        changes: Sequence[Change],
    ):
        self.network, self.settings, self.objective = network, settings, objective
        self._changes, self.parts = changes, segments(settings, changes)
        self.optimizer = optimizer_of(settings, network.parameters())
        self.scheduler = scheduler_of(settings, self.optimizer)
        self.average = copy.deepcopy(network).requires_grad_(False) if settings.ema else None
        self.step, self.best_step, self.best_score = 0, 0, -1.0
        self.seconds = 0.0  # that training took, in all
        self.history: list[list[float]] = []
        self.losses: list[float] = []  # since the last validation
        self.best_weights: dict[str, Tensor] = {}

    def goes_on(self) -> bool:
        """Whether there is a step to make, under the settings that hold for it."""
        validated = bool(self.history) and self.history[-1][0] == self.step
        if self.step >= self.parts[-1].end or (self.is_out_of_time and validated):
            return False
        self._enter(segment_at(self.parts, self.step))
        return not self._is_exhausted()

    @property
    def is_out_of_time(self) -> bool:
        limit = self.settings.max_runtime
        return limit is not None and self.seconds >= 60 * limit

    @property
    def ended(self) -> str:
        """Why it ended before its last step, if time was the reason."""
        if not self.is_out_of_time or self.step >= self.parts[-1].end or self._is_exhausted():
            return ""
        limit = f"max_runtime of {self.settings.max_runtime:g} min"
        return f"training ended by its {limit} at step {self.step} of {self.parts[-1].end}"

    def _enter(self, part: Segment) -> None:
        """Takes over the settings of a part; a state from inside it has its rate already."""
        self.settings = part.settings
        begins, rate = self.step == part.start, self.settings.learning_rate
        if isinstance(self.scheduler, torch.optim.lr_scheduler.LambdaLR):
            factor = factor_of(self.settings, rate_set_at(self.parts, self.step))
            self.scheduler.lr_lambdas = [factor]
            if begins and {"learning_rate", "steps"} & part.changed.keys():
                self.scheduler.base_lrs = [rate]
                self._set_rate(rate * factor(self.step))
        elif self.step < rise_of(self.settings):
            self._set_rate(rate * (self.step + 1) / rise_of(self.settings))
        elif begins and "learning_rate" in part.changed:
            self._set_rate(rate)

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @property
    def best(self) -> dict[str, float]:
        """The best score, once there is one."""
        return {"best": self.best_score} if self.history else {}

    def require(self, good: bool, problem: str) -> None:
        """Raises NotFiniteError where something is not good."""
        if not good:
            raise NotFiniteError(
                f"{problem} at step {self.step + 1} of training; lower learning_rate, which is "
                f"{self.settings.learning_rate:g}, or check raw and labels"
            )

    @property
    def validated(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.network if self.average is None else self.average

    def backward(self, forward: Forward, inputs: Tensor, targets: Tensor) -> float:
        """The loss of a step's batches, of whose gradients the mean is taken."""
        self.optimizer.zero_grad()
        values, parts = [], self.settings.accumulate
        for batch, truth in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):
            loss = self.objective.loss(self.network, forward, batch, truth)
            values.append(loss.item())
            self.require(math.isfinite(values[-1]), f"the loss became {values[-1]}")
            (loss / parts if parts > 1 else loss).backward()
        return sum(values) / parts

    def update(self) -> None:
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        if self.settings.schedule != "plateau":
            self.scheduler.step()
        self.step += 1
        if self.average is not None:
            follow(self.average, self.network, min(self.settings.ema, 1 - 1 / (self.step + 1)))

    @property
    def mean_loss(self) -> float:
        """Of the steps since the last validation."""
        return sum(self.losses) / max(len(self.losses), 1)

    def note_score(self, score: float) -> None:
        self.losses = []
        self.history.append([self.step, round(score, 6)])
        if self.settings.schedule == "plateau":
            self.scheduler.step(score)  # type: ignore[arg-type]
        if score > self.best_score:
            self.best_step, self.best_score = self.step, score
            self.best_weights = {n: t.detach().cpu().clone() for n, t in self.validated.state_dict().items()}

    def _is_exhausted(self) -> bool:
        """Whether `patience` validations have gone by without a better score."""
        since = sum(step > self.best_step for step, _ in self.history)
        return since >= self.settings.patience

    @property
    def _parts(self) -> tuple[str, ...]:
        return (
            "network",
            "optimizer",
            "scheduler",
            "objective",
            *(("average",) if self.average is not None else ()),
        )

    def save(self, folder: Path) -> None:
        state = {part: getattr(self, part).state_dict() for part in self._parts}
        own = ("step", "seconds", "best_step", "best_score", "history", "losses", "best_weights")
        made = {"changes": self._changes_before(self.step)}
        save_checkpoint(folder, self.step, state | made | {name: getattr(self, name) for name in own})

    def _changes_before(self, step: int) -> list[dict[str, Any]]:
        return _plain([change for change in self._changes if change.step < step])

    def _misfit(self, state: dict[str, Any]) -> str:
        same = state.get("changes", []) == self._changes_before(state["step"])
        return "" if same else "comes from other changes by hand"

    def restore(self, folder: Path) -> None:
        state = load_checkpoint(folder, self._misfit)
        if state is None:
            return
        state.pop("changes", None)
        for part in self._parts:
            getattr(self, part).load_state_dict(state.pop(part))
        vars(self).update(state)
        log.info("going on from the checkpoint of step %d", self.step)


class _Batches(Dataset[Sample]):
    """The samples of each step, stacked and changed, for torch's loader."""

    def __init__(self, samples: Samples, parts: Sequence[Segment], change: BatchChange | None):
        self.samples, self.parts, self.change = samples, parts, change

    def __getitem__(self, step: int) -> Sample:
        found = [self.samples[index] for index in segment_at(self.parts, step).samples(step)]
        inputs, targets = (torch.stack(part) for part in zip(*found, strict=True))
        return self.change(inputs, targets, step) if self.change else (inputs, targets)


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def _batches(
    samples: Samples, parts: Sequence[Segment], step: int, change: BatchChange | None
) -> Iterator[Iterator[Sample]]:
    """The batches from a step on; however the block ends, the processes that prepare them end, too.

    Raises:
        LostWorkerError: one of them was killed.
    """
    settings = parts[0].settings
    batches = iter(
        DataLoader(
            _Batches(samples, parts, change),
            batch_size=None,
            sampler=range(step, parts[-1].end),
            num_workers=settings.workers,
            prefetch_factor=4 if settings.workers else None,
            worker_init_fn=_leave_interrupts_to_the_main_process,
        )
    )
    try:
        yield batches
    except (RuntimeError, ConnectionError, EOFError) as error:  # torch raises the first wherever we are
        if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
            raise
        raise LostWorkerError(
            "a process that prepares samples was killed, perhaps for want of memory; run the same command "
            f"again to go on, and with fewer workers than {settings.workers} if it happens again"
        ) from None
    finally:
        if settings.workers:  # they ignore signals, so that waiting for them at exit would never end
            batches._shutdown_workers()  # type: ignore[attr-defined]

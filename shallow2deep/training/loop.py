"""Trains one network: samples in, the best weights out, with checkpoints on the way."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from shallow2deep.settings import TrainingSettings
from shallow2deep.progress import progress_bar
from shallow2deep.training.checkpoints import load_checkpoint, save_checkpoint
from shallow2deep.networks.devices import choose_device, use_bfloat16
from shallow2deep.training.objectives import Objective

log = logging.getLogger(__name__)

Sample = tuple[Tensor, Tensor]


class Samples(Protocol):
    """Sample `index`: input float32 `(C, *spatial)` and targets `(K, *spatial)`; depends on `index` alone."""

    def __getitem__(self, index: int) -> Sample: ...

    def __len__(self) -> int: ...


class Stopped(Exception):
    """The caller asked to stop; a checkpoint has been written."""


def train(
    network: nn.Module,
    training: Samples,
    validation: Samples,
    settings: TrainingSettings,
    folder: Path,
    outputs: tuple[str, ...],
    objective: Objective,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Trains `network` in place and leaves the weights with the best validation score in it.

    Args:
        training: at least `steps * batch` samples; sample i is used at step i // batch.
        validation: scored every `validate_every` steps, on its targets' first channels.
        objective: what is minimised.
        folder: gets `checkpoints/` and `tensorboard/`; a checkpoint found there is gone on from.
        should_stop: asked after each step.

    Returns:
        `step`, `best_step`, `best_score` (Dice at 0.5, averaged over outputs) and the `history` of scores.

    Raises:
        Stopped: after writing a checkpoint, when `should_stop` says so.
    """
    device = choose_device(settings.device)
    bfloat16 = use_bfloat16(settings.precision, device)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = _TrainingState(network, settings, objective)
    state.restore(folder / "checkpoints")
    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=state.step + 1)

    def forward(model: nn.Module, inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits: Tensor = model(inputs.to(device).contiguous(memory_format=torch.channels_last))
        return logits.float()

    bar = progress_bar(total=settings.steps, initial=state.step, desc="training", unit="step")
    waited, started = 0.0, time.monotonic()

    batches = _batches(training, settings, state.step)
    while state.step < settings.steps and not state.is_exhausted():
        asked = time.monotonic()
        inputs, targets = next(batches)
        waited += time.monotonic() - asked
        network.train()
        loss = objective.loss(network, forward, inputs.to(device), targets.to(device))
        state.update(loss)
        objective.after_step(network)
        bar.update()
        bar.set_postfix(loss=f"{loss.item():.3f}", best=f"{state.best_score:.3f}", refresh=False)
        writer.add_scalar("training/loss", loss.item(), state.step)
        writer.add_scalar("training/learning_rate", state.optimizer.param_groups[0]["lr"], state.step)

        if state.step % settings.validate_every == 0 or state.step == settings.steps:
            scores, picture = _validate(network, validation, settings, device, bfloat16)
            for name, score in zip(outputs, scores, strict=True):
                writer.add_scalar(f"validation/dice_{name}", score, state.step)
            writer.add_image("validation/input_truth_prediction", picture, state.step)
            state.note_score(sum(scores) / len(scores))
        stop = should_stop()
        if stop or state.step % settings.checkpoint_every == 0:
            state.save(folder / "checkpoints")
        if stop:
            writer.close()
            bar.close()
            raise Stopped
    bar.close()
    writer.close()
    elapsed = max(time.monotonic() - started, 1e-9)
    log.info(
        "trained to step %d; %.1f %% of the time waiting for samples", state.step, 100 * waited / elapsed
    )
    network.load_state_dict(state.best_weights)
    return {
        "step": state.step,
        "best_step": state.best_step,
        "best_score": round(state.best_score, 6),
        "history": state.history,
    }


_PARTS = ("network", "optimizer", "scheduler", "objective")


class _TrainingState:
    """Everything that a checkpoint holds."""

    def __init__(self, network: nn.Module, settings: TrainingSettings, objective: Objective):
        self.network, self.settings, self.objective = network, settings, objective
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step, self.best_step, self.best_score = 0, 0, -1.0
        self.history: list[list[float]] = []
        self.best_weights: dict[str, Tensor] = {}
        self.scheduler: torch.optim.lr_scheduler.LRScheduler
        if settings.schedule == "cosine":
            self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, _cosine(settings.steps))
        else:
            self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                self.optimizer, mode="max", factor=0.2, patience=3
            )

    def update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        if self.settings.schedule == "cosine":
            self.scheduler.step()
        self.step += 1

    def note_score(self, score: float) -> None:
        self.history.append([self.step, round(score, 6)])
        if self.settings.schedule == "plateau":
            self.scheduler.step(score)  # type: ignore[arg-type]
        if score > self.best_score:
            self.best_step, self.best_score = self.step, score
            self.best_weights = {n: t.detach().cpu().clone() for n, t in self.network.state_dict().items()}

    def is_exhausted(self) -> bool:
        """Whether `patience` validations have gone by without a better score."""
        since = sum(step > self.best_step for step, _ in self.history)
        return since >= self.settings.patience

    def save(self, folder: Path) -> None:
        state = {part: getattr(self, part).state_dict() for part in _PARTS}
        own = ("step", "best_step", "best_score", "history", "best_weights")
        save_checkpoint(folder, self.step, state | {name: getattr(self, name) for name in own})

    def restore(self, folder: Path) -> None:
        state = load_checkpoint(folder)
        if state is None:
            return
        for part in _PARTS:
            getattr(self, part).load_state_dict(state.pop(part))
        vars(self).update(state)
        log.info("going on from the checkpoint of step %d", self.step)


def _cosine(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate: a short linear rise, then half a cosine down to zero."""
    rise = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    return factor


class _TorchSamples(Dataset[Sample]):
    """The samples, for torch's loader."""

    def __init__(self, samples: Samples):
        self.samples = samples

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _batches(samples: Samples, settings: TrainingSettings, step: int) -> Iterator[Sample]:
    indices = range(step * settings.batch, settings.steps * settings.batch)
    return iter(
        DataLoader(
            _TorchSamples(samples),
            batch_size=settings.batch,
            sampler=indices,
            num_workers=settings.workers,
            prefetch_factor=4 if settings.workers else None,
            worker_init_fn=_leave_interrupts_to_the_main_process,
        )
    )


def _validate(
    network: nn.Module, samples: Samples, settings: TrainingSettings, device: torch.device, bfloat16: bool
) -> tuple[list[float], Tensor]:
    """Dice at 0.5 of each output over all samples, and the first one as a picture `(1, y, 3 x)`."""
    network.eval()
    overlap: Tensor | float = 0.0
    total: Tensor | float = 0.0
    picture: Tensor | None = None
    for start in range(0, len(samples), settings.batch):
        batch = [samples[i] for i in range(start, min(start + settings.batch, len(samples)))]
        inputs, targets = (torch.stack(part) for part in zip(*batch, strict=True))
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            p = torch.sigmoid(network(inputs.to(device)).float()).cpu()
        if picture is None:
            first = torch.cat([inputs[0, 0], targets[0, 0].float(), p[0, 0]], -1)
            picture = (first - first.min()) / (first.max() - first.min()).clamp(min=1e-6)
        axes = [0, *range(2, p.ndim)]
        overlap = overlap + ((p > 0.5) & (targets > 0)).sum(axes)
        total = total + (p > 0.5).sum(axes) + (targets > 0).sum(axes)
    assert picture is not None, "validation without samples"
    scores = 2 * torch.as_tensor(overlap) / torch.as_tensor(total).clamp(min=1)
    return [float(s) for s in scores], picture[None]

"""`s2d status`: what a run has done, what it does now, and what it would do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shallow2deep.commands.adapt import opened, target_stages
from shallow2deep.commands.enhancer_train import source_stages
from shallow2deep.commands.pretrain import pretrain_stages
from shallow2deep.commands.train import train_stages
from shallow2deep.errors import InputError, MissingDataError
from shallow2deep.inputs.ilastik import with_project
from shallow2deep.io.known import Known
from shallow2deep.networks.model import load_spec
from shallow2deep.networks.own import trust_files
from shallow2deep.runs.changes import made, with_made
from shallow2deep.runs.engine import Stage, State, chain_fault, stale_stage, state_of
from shallow2deep.runs.events import Event
from shallow2deep.runs.folder import command_of, known_of
from shallow2deep.runs.standing import Standing, standing
from shallow2deep.settings import (
    AdaptConfig,
    Change,
    EnhancerTrainConfig,
    PretrainConfig,
    TrainConfig,
    read_yaml,
    validated,
)


@dataclass(frozen=True)
class RunStatus:
    """A run's command and the state of each of its stages, in order.

    Attributes:
        standing: what it does, or how it has ended.
        changes: of settings, made by hand.
    """

    command: str
    stages: dict[str, State]
    standing: Standing
    changes: tuple[Change, ...] = ()

    @property
    def word(self) -> str:
        """That of its standing; "stale" where it was finished, and the same command would do more."""
        done = all(state.word == "finished" for state in self.stages.values())
        if self.standing.worker is not None or done == (self.standing.word == "finished"):
            return self.standing.word
        return "finished" if done else "stale"

    @property
    def at_work(self) -> bool:
        """Whether a process works on it now."""
        return self.standing.worker is not None

    @property
    def last(self) -> Event | None:
        """What that process told last."""
        return self.standing.last if self.at_work else None


def status(run: str | Path, trust: bool = False) -> RunStatus:
    """Compares a run's folder with its settings and data as they are now.

    Args:
        trust: whether Python code of the enhancer, or of networks of one's own, may be run.

    Raises:
        InputError: no run there, or data that can no longer be used.
    """
    run = Path(run)
    known = known_of(run)
    states = {stage.name: state_of(run, stage, known) for stage in stages_of(run, known, trust)}
    found = standing(run)
    if found.worker is not None:
        word = "at work" if found.word == "running" else found.word
        states = {n: State(word) if s.word == "interrupted" else s for n, s in states.items()}
    return RunStatus(command_of(run) or "", states, found, made(run))


def stages_of(run: Path, known: Known, trust: bool = False) -> list[Stage]:
    """What a run's settings and data as they are now ask for.

    Raises:
        InputError: no run there, or data that can no longer be used.
    """
    path, command = run / "settings.yaml", command_of(run)
    if command is None:
        raise InputError(f"{run}: no run here; give the folder that was given as --run")
    if command == "adapt":
        config = with_made(with_project(validated(AdaptConfig, read_yaml(path), str(path))), run)
        if trust:
            trust_files(config.target_network.network)
        return target_stages(config, opened(config, run, known, trust), run, known)
    if command == "train":
        labelled = with_made(validated(TrainConfig, read_yaml(path), str(path)), run)
        if trust:
            trust_files(labelled.labelled_net.network)
        return train_stages(labelled, known)
    if command == "pretrain":
        unlabelled = with_made(validated(PretrainConfig, read_yaml(path), str(path)), run)
        if trust:
            trust_files(unlabelled.pretrained_net.network)
        return pretrain_stages(unlabelled, known)
    source = with_made(validated(EnhancerTrainConfig, read_yaml(path), str(path)), run)
    if trust:
        trust_files(*source.networks)
    return source_stages(source, known)


def require_current(run: Path, names: Sequence[str], known: Known, trust: bool = False) -> None:
    """Whether stages, with all that they were made from, are finished, whole and up to date.

    Where the run's data are out of reach, what the stages say of themselves has to do.

    Raises:
        InputError: naming the first one that is not, and why.
    """
    for name in names:
        if (run / name / "model.json").is_file():
            load_spec(run / name).layers.allow(trust)
    try:
        fault = stale_stage(run, stages_of(run, known, trust), names, known)
    except MissingDataError:
        fault = chain_fault(run, names, known)
    if fault:
        raise InputError(f"{run}: {fault}; run the same {command_of(run)} again first")

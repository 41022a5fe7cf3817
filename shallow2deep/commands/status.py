"""`s2d status`: what a run has done, what it does now, and what it would do next."""

from dataclasses import dataclass
from pathlib import Path

from shallow2deep.commands.adapt import target_stages
from shallow2deep.commands.enhancer_train import source_stages
from shallow2deep.errors import InputError
from shallow2deep.inputs.ilastik import with_project
from shallow2deep.runs.engine import Stage, State, state_of
from shallow2deep.runs.events import Event, last_event
from shallow2deep.runs.folder import command_of, is_at_work, known_of
from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig, read_yaml, validated


@dataclass(frozen=True)
class RunStatus:
    """A run's command and the state of each of its stages, in order.

    Attributes:
        at_work: whether a process works on it now.
        last: what that process told last.
    """

    command: str
    stages: dict[str, State]
    at_work: bool = False
    last: Event | None = None


def status(run: str | Path, trust: bool = False) -> RunStatus:
    """Compares a run's folder with its settings and data as they are now.

    Args:
        trust: whether Python code in the enhancer's package may be run, if it needs that.

    Raises:
        InputError: no run there, or data that can no longer be used.
    """
    run = Path(run)
    command = command_of(run)
    if command is None:
        raise InputError(f"{run}: no run here; give the folder that was given as --run")
    known = known_of(run)
    path = run / "settings.yaml"
    stages: list[Stage]
    if command == "adapt":
        config = with_project(validated(AdaptConfig, read_yaml(path), str(path)))
        stages = target_stages(config, run, known, trust)
    else:
        stages = source_stages(validated(EnhancerTrainConfig, read_yaml(path), str(path)), known)
    states = {stage.name: state_of(run, stage, known) for stage in stages}
    busy = is_at_work(run)
    if busy:
        states = {n: State("at work") if s.word == "interrupted" else s for n, s in states.items()}
    return RunStatus(command, states, busy, last_event(run) if busy else None)

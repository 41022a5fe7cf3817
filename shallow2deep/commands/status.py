"""What a run has done and what it would do next."""

from dataclasses import dataclass
from pathlib import Path

from shallow2deep.settings import AdaptConfig, EnhancerTrainConfig, read_yaml, validated
from shallow2deep.errors import InputError
from shallow2deep.runs.engine import State, state_of
from shallow2deep.inputs.ilastik import with_project
from shallow2deep.runs.folder import command_of
from shallow2deep.commands.enhancer_train import source_stages
from shallow2deep.commands.adapt import target_stages


@dataclass(frozen=True)
class RunStatus:
    """A run's command and the state of each of its stages, in order."""

    command: str
    stages: dict[str, State]


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
    path = run / "settings.yaml"
    if command == "adapt":
        stages = target_stages(with_project(validated(AdaptConfig, read_yaml(path), str(path))), run, trust)
    else:
        stages = source_stages(validated(EnhancerTrainConfig, read_yaml(path), str(path)), run)
    return RunStatus(command, {stage.name: state_of(run, stage) for stage in stages})

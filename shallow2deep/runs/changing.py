"""Asks for other settings of a training while it goes on, and waits until they hold."""

from collections.abc import Sequence
from pathlib import Path

from shallow2deep.errors import InputError, SettingsError
from shallow2deep.io.atomic import read_json
from shallow2deep.runs import changes
from shallow2deep.runs.engine import MANIFEST
from shallow2deep.runs.events import latest
from shallow2deep.runs.folder import RUN
from shallow2deep.runs.standing import standing
from shallow2deep.runs.steering import wait_until
from shallow2deep.settings import Change, validated, with_overrides


def change(run: Path, assignments: Sequence[str], wait_s: float = 30) -> Change | None:
    """Asks for other settings of a training, which are recorded in the run as they are made.

    Args:
        assignments: `NAME=VALUE`, or `STAGE.NAME=VALUE` for another stage than the one at work.
        wait_s: how long to wait; what is not made then is made at the next safe point of the stage.

    Returns:
        The change as it was recorded; None if it is still to be made.

    Raises:
        InputError: no run there, a setting that cannot be changed, a value that cannot be used, or a stage
            that is finished or trains nothing.
    """
    at_work = standing(run).worker is not None
    values = with_overrides({}, assignments)
    sections = {name: value for name, value in values.items() if isinstance(value, dict)}
    if len(values) > 1 and sections:
        raise InputError("settings of several stages were given; give those of one at a time")
    stages = _changeable(run)
    stage, wanted = next(iter(sections.items())) if sections else (_chosen(run, list(stages)), values)
    if stage not in stages:
        raise InputError(f"{stage}: no training of this run; these are: {', '.join(stages)}")
    if (run / stage / MANIFEST).exists():
        raise InputError(f"{stage} is finished; give the same command with other settings to train it again")
    if unknown := [name for name in wanted if name not in stages[stage]]:
        raise SettingsError(
            f"{', '.join(unknown)} cannot be changed while it trains; give {', '.join(stages[stage])}"
        )
    asked = validated(Change, {"stage": stage, "step": 0, **wanted}, stage).values
    changes.want(run, stage, asked)
    if at_work:
        wait_until(run, lambda now: now.worker is None or stage not in changes.waiting(run), wait_s)
    if stage in changes.waiting(run):
        return None
    if why := changes.refused(run, stage):
        raise InputError(f"{run}, {stage}: not changed: {why}")
    return [made for made in changes.made(run) if made.stage == stage][-1]


def _changeable(run: Path) -> dict[str, list[str]]:
    """The stages of a run that train a network, and the settings of each that can be changed meanwhile."""
    said = read_json(run / RUN).get("stages")
    return {stage: names for stage, names in said.items() if names} if isinstance(said, dict) else {}


def _chosen(run: Path, trained: Sequence[str]) -> str:
    """The stage at work, or the only one that is left."""
    last = next((event["stage"] for event in reversed(latest(run)[1]) if event["stage"]), "")
    left = [name for name in trained if not (run / name / MANIFEST).exists()]
    if last in left:
        return last
    if len(left) == 1:
        return left[0]
    raise InputError(
        f"{run}: it trains {', '.join(left) or 'nothing any more'}; name one, as in STAGE.learning_rate=1e-4"
    )

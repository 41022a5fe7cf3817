"""`s2d set`: other settings for a training that goes on, from its next safe point."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shallow2deep.errors import InputError, SettingsError
from shallow2deep.inputs.models import ENHANCER
from shallow2deep.inputs.results import ENHANCED, FOREST, SOURCE_NET, candidate_names
from shallow2deep.runs import changes
from shallow2deep.runs.engine import MANIFEST
from shallow2deep.runs.events import latest
from shallow2deep.runs.folder import command_of
from shallow2deep.runs.standing import standing
from shallow2deep.runs.steering import wait_until
from shallow2deep.settings import (
    CHANGEABLE,
    AdaptConfig,
    Change,
    EnhancerTrainConfig,
    read_yaml,
    validated,
    with_overrides,
)

_OF_SEGMENTORS = ("learning_rate", "steps", "batch")  # they are not validated on the way


def change(run: Path, assignments: Sequence[str], wait_s: float = 30) -> Change | None:
    """Asks for other settings of a training, and waits until they hold.

    Args:
        assignments: `NAME=VALUE`, or `STAGE.NAME=VALUE` for another stage than the one at work.
        wait_s: how long to wait; what is not made then is made at the next safe point of the stage.

    Returns:
        The change as it was recorded; None if it is still to be made.

    Raises:
        InputError: no run there, a setting that cannot be changed, a value that cannot be used, or a stage
            that is finished or trains nothing.
    """
    found = standing(run)
    values = with_overrides({}, assignments)
    sections = {name: value for name, value in values.items() if isinstance(value, dict)}
    if sections and (len(sections) > 1 or len(values) > 1):
        raise InputError("give the settings of one stage at a time")
    trained = _trained(run)
    stage, wanted = next(iter(sections.items())) if sections else (_chosen(run, trained), values)
    if stage not in trained:
        raise InputError(f"{stage}: no training of this run; these are: {', '.join(trained)}")
    if (run / stage / MANIFEST).exists():
        raise InputError(
            f"{stage} is finished; to train it otherwise, give the same command with other settings"
        )
    allowed = _OF_SEGMENTORS if command_of(run) == "adapt" else CHANGEABLE
    if unknown := [name for name in wanted if name not in allowed]:
        raise SettingsError(f"{', '.join(unknown)} cannot be changed here; give {', '.join(allowed)}")
    asked = validated(Change, {"stage": stage, "step": 0, **wanted}, stage).values
    changes.want(run, stage, asked)
    if found.worker is None:
        return None
    wait_until(run, lambda now: now.worker is None or stage not in changes.waiting(run), wait_s)
    return _outcome(run, stage, asked)


def _outcome(run: Path, stage: str, asked: dict[str, Any]) -> Change | None:
    if stage in changes.waiting(run):
        return None
    recorded = [one for one in changes.made(run) if one.stage == stage]
    if recorded and asked.items() <= recorded[-1].values.items():
        return recorded[-1]
    raise InputError(f"{run}, {stage}: not changed: {changes.refused(run, stage)}")


def _trained(run: Path) -> list[str]:
    """The stages of a run that train a network."""
    path = run / "settings.yaml"
    if command_of(run) == "adapt":
        names = candidate_names(validated(AdaptConfig, read_yaml(path), str(path)))
        return [name for name in names if name not in (FOREST, ENHANCED, SOURCE_NET)]
    config = validated(EnhancerTrainConfig, read_yaml(path), str(path))
    return [ENHANCER, *([SOURCE_NET] if config.source_net is not None else [])]


def _chosen(run: Path, trained: Sequence[str]) -> str:
    """The stage at work, or the only one that is left."""
    last = next((event["stage"] for event in reversed(latest(run)[1]) if event.get("stage")), "")
    left = [name for name in trained if not (run / name / MANIFEST).exists()]
    if last in left:
        return last
    if len(left) == 1:
        return left[0]
    raise InputError(
        f"{run}: it trains {', '.join(left) or 'nothing any more'}; name one, as in STAGE.learning_rate=1e-4"
    )

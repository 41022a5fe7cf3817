"""Changes of a training by hand, while it goes on: asked for by any process, made by the one at work.

`changes.json` holds what is wanted and was refused, by stage, and what was made: the latter belongs to the
run's settings from then on, so that the run goes on with it, and can be repeated.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from shallow2deep.errors import DamagedFileError, SettingsError
from shallow2deep.io.atomic import read_json, write_json
from shallow2deep.runs.control import one_at_a_time
from shallow2deep.settings import AdaptConfig, Change, EnhancerTrainConfig, PretrainConfig, TrainConfig

FILE = "changes.json"
C = TypeVar("C", EnhancerTrainConfig, AdaptConfig, TrainConfig, PretrainConfig)


class Changed(Exception):
    """The settings are other ones from here on; the stages are put together anew, to go on with them."""


def want(run: Path, stage: str, values: Mapping[str, Any]) -> None:
    """Asks for other settings of a stage's training, from its next safe point on."""
    with one_at_a_time(run):
        found = _read(run)
        found["wanted"][stage] = found["wanted"].get(stage, {}) | dict(values)
        found["refused"].pop(stage, None)
        write_json(run / FILE, found)


def wanted(run: Path, stage: str) -> dict[str, Any]:
    """What is asked for and not made yet."""
    values = _read(run)["wanted"].get(stage, {})
    return values if isinstance(values, dict) else {}


def waiting(run: Path) -> set[str]:
    """The stages of which something is asked for; none where that cannot be read."""
    with suppress(DamagedFileError):
        return {stage for stage, values in _read(run)["wanted"].items() if values}
    return set()


def refused(run: Path, stage: str) -> str:
    """Why the last change that was asked for was not made; empty if it was."""
    return str(_read(run)["refused"].get(stage, ""))


def drop(run: Path, stage: str) -> None:
    """Refuses what is asked for, as the stage is finished."""
    if stage in waiting(run):
        with one_at_a_time(run):
            found = _read(run)
            found["wanted"].pop(stage, None)
            found["refused"][stage] = "its training had come to its end"
            write_json(run / FILE, found)


def make(run: Path, stage: str, network: str, step: int) -> Change:
    """Records what is asked for as made at a step.

    Raises:
        SettingsError: it cannot be made there; it is not asked for any more.
    """
    with one_at_a_time(run):
        found = _read(run)
        values = found["wanted"].pop(stage, {})
        place = {"stage": stage, "network": network, "step": step}
        try:
            change = Change.model_validate(values | place if isinstance(values, dict) else place)
            found["made"].append(change.model_dump(exclude_none=True))
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            found["refused"][stage] = why
            raise SettingsError(f"{stage}: not changed: {why}") from None
        finally:
            write_json(run / FILE, found)
    return change


def made(run: Path) -> tuple[Change, ...]:
    """What was changed by hand in a run, in order.

    Raises:
        DamagedFileError: it cannot be read; it decides on the run's results.
    """
    try:
        return tuple(Change.model_validate(one) for one in _read(run)["made"])
    except ValidationError:
        raise DamagedFileError(f"{run / FILE}: holds no changes of settings; restore or remove it") from None


def with_made(config: C, run: Path) -> C:
    """The settings with what was changed by hand."""
    known: tuple[Change, ...] = config.changes
    more: list[Change] = [change for change in made(run) if change not in known]
    return config.model_copy(update={"changes": (*known, *more)}) if more else config


def _read(run: Path) -> dict[str, Any]:
    found: Any = (
        read_json(run / FILE) if (run / FILE).is_file() else {"made": [], "wanted": {}, "refused": {}}
    )
    kinds = {"made": list, "wanted": dict, "refused": dict}
    if isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
        return found
    raise DamagedFileError(f"{run / FILE}: holds no changes of settings; restore or remove it")

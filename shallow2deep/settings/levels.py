"""Settings in levels, each over those before: defaults, user's file, config file, command line."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

from pydantic import Field

from shallow2deep.errors import SettingsError
from shallow2deep.settings.base import C, Settings, validated
from shallow2deep.settings.flags import with_flags
from shallow2deep.settings.labelled import TrainConfig
from shallow2deep.settings.pretraining import PretrainConfig
from shallow2deep.settings.reading import merged, read_yaml, with_overrides
from shallow2deep.settings.source import EnhancerTrainConfig
from shallow2deep.settings.target import AdaptConfig

log = logging.getLogger(__name__)

CONFIGS: Mapping[str, type[Settings]] = {
    "adapt": AdaptConfig,
    "enhancer-train": EnhancerTrainConfig,
    "train": TrainConfig,
    "pretrain": PretrainConfig,
}
"""The settings of each command that takes a file of them."""

NAMES_USERS_FILE = "S2D_CONFIG"  # environment variable


class _UsersFile(Settings):
    """Settings of one's own for all runs, in a section for each command."""

    adapt: dict[str, Any] = Field({})
    enhancer_train: dict[str, Any] = Field({}, alias="enhancer-train")
    train: dict[str, Any] = Field({})
    pretrain: dict[str, Any] = Field({})


@dataclass(frozen=True)
class Level:
    """Settings that come from one place.

    Attributes:
        kind: "user's file", "config file" or "command line".
        values: as in a file of settings; names of data are absolute.
    """

    kind: str
    values: Mapping[str, Any]
    file: Path | None = None

    @property
    def name(self) -> str:
        return str(self.file) if self.file else f"the {self.kind}"


def model_of(command: str) -> type[Settings]:
    """Raises SettingsError where a command takes no settings."""
    if command not in CONFIGS:
        raise SettingsError(f"{command} takes no file of settings; give {' or '.join(CONFIGS)}")
    return CONFIGS[command]


def levels_of(
    command: str,
    config: Path | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> list[Level]:
    """What is set for a command, the weakest first.

    Args:
        command: one of `CONFIGS`.
        config: the file of a run.
        overrides: each `section.key=value`.
        flags: of `adapt`.

    Raises:
        SettingsError: the command takes no settings; or a file, or an override, cannot be read.
    """
    model_of(command)
    found = []
    if users := _users_file():
        own = validated(_UsersFile, read_yaml(users), str(users)).model_dump(by_alias=True)
        found.append(Level("user's file", own[command], users))
    if config:
        found.append(Level("config file", read_yaml(config), config))
    values = with_overrides(with_flags({}, flags or {}), overrides)
    if values or config is None:
        found.append(Level("command line", values))
    return found


def _users_file() -> Path | None:
    """Where settings for all runs are, if there are any."""
    if stated := os.environ.get(NAMES_USERS_FILE):
        path = Path(os.path.expanduser(stated))  # noqa: PTH111 - leaves an unknown user's ~ as it is
        if not os.path.lexists(path):
            raise SettingsError(
                f"{NAMES_USERS_FILE} names {path}, where there is no file; correct it, or unset it"
            )
        return path
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - never fails
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    path = (folder if folder.is_absolute() else home / ".config") / "shallow2deep" / "settings.yaml"
    return path if os.path.lexists(path) else None


def together(levels: Sequence[Level]) -> tuple[dict[str, Any], dict[str, Any]]:
    """All levels in one: the values, and in their places the levels that they come from."""
    values: dict[str, Any] = reduce(merged, [level.values for level in levels], {})
    origins: dict[str, Any] = reduce(merged, [_filled(level.values, level) for level in levels], {})
    return values, origins


def resolved(model: type[C], levels: Sequence[Level]) -> C:
    """The settings of all levels together; says what of the user's file is in them.

    Raises:
        SettingsError: naming each wrong key, and the place that it comes from.
    """
    values, origins = together(levels)
    settings = validated(model, values, partial(_names_at, origins, levels[-1].name))
    for level in levels:
        used = [".".join(path) for path, origin in leaves(origins) if origin is level]
        if level.kind == "user's file" and used:
            log.info("from %s: %s", level.name, ", ".join(used))
    return settings


def _filled(values: Any, level: Level) -> Any:
    """The same sections, with the level in place of each value."""
    return {key: _filled(v, level) for key, v in values.items()} if isinstance(values, Mapping) else level


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value of nested sections, and where it is."""
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for key, inner in tree.items():
        yield from leaves(inner, (*path, str(key)))


def _names_at(origins: Any, strongest: str, location: Sequence[int | str]) -> str:
    """What a problem at a location comes from; what is missing, from the level that is to state it."""
    for part in location:
        if not isinstance(origins, Mapping):
            break
        if part not in origins:
            return strongest
        origins = origins[part]
    return ", ".join(dict.fromkeys(level.name for _, level in leaves(origins))) or strongest

"""A project of images and the strokes on them: what is painted on the page, and what `s2d adapt` takes.

`settings.yaml` in its folder is a file of settings for `s2d adapt`, `strokes/` has a label image for each
image that is painted on, and `page.json` what only the page knows: colours.
"""

import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from shallow2deep.errors import InputError, MissingDataError
from shallow2deep.inputs.names import plain_name
from shallow2deep.io.atomic import read_json, write_json, write_text
from shallow2deep.io.formats import split_name
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.service.places import DATA
from shallow2deep.service.stroke_files import Span, StrokeFile
from shallow2deep.settings import AdaptConfig, anchored, read_yaml, validated

SETTINGS, STROKES, PAGE = "settings.yaml", "strokes", "page.json"
COLOURS = ("#ffb000", "#00a0ff", "#dc267f", "#43d000", "#8050ff", "#ffffff")  # as in the report
_KEPT = 1000  # changes that another window can catch up with
_MAX_CLASSES = 32
_ENHANCER = "nuclei-2d"


@dataclass(frozen=True)
class Change:
    """A stroke as other windows hear of it.

    Attributes:
        revision: how many strokes there were with it since the server began.
        client: the window that painted it.
    """

    revision: int
    client: str
    image: int
    z: int
    spans: Sequence[Span]


class Painting:
    """Images, classes, and strokes; all methods may be called by several threads.

    Args:
        names: images as users name them, see `open_volumes`.
        folder: of the project; what is there already counts.

    Raises:
        InputError: images that cannot be painted on, or strokes that are not theirs.
    """

    def __init__(self, names: Sequence[str], folder: Path):
        self.folder = folder.resolve()
        self.images = open_volumes(names)
        _require_own_names(self.images)
        self.epoch, self.revision = secrets.token_hex(8), 0
        self.lock = threading.RLock()
        self._changes: deque[Change] = deque(maxlen=_KEPT)
        self._answers: OrderedDict[str, tuple[int, list[Span]]] = OrderedDict()
        self._files: dict[int, StrokeFile] = {}
        self._names = list(names)
        self._save({})
        self.config = self._read()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def colours(self) -> list[str]:
        """Of the classes."""
        page = self.folder / PAGE
        said = read_json(page).get("colours", []) if page.exists() else []
        return [*said, *COLOURS[len(said) :], *["#808080"] * _MAX_CLASSES][: len(self.classes)]

    def image(self, number: int) -> Volume:
        """Raises MissingDataError where there is no such image."""
        if not 0 <= number < len(self.images):
            raise MissingDataError(f"image {number} was asked for, but there are {len(self.images)}")
        return self.images[number]

    def plane(self, number: int, z: int) -> Volume:
        """A plane of an image, `([C,] y, x)`."""
        planes = self.image(number).planes()
        if not 0 <= z < len(planes):
            raise InputError(f"plane {z} was asked for, but there are {len(planes)}; take one, from 0")
        return planes[z]

    def strokes(self, number: int) -> StrokeFile:
        """What is painted on an image."""
        with self.lock:
            if number not in self._files:
                volume = self.image(number)
                path = self.folder / STROKES / f"{plain_name(volume)}_strokes.zarr"
                self._files[number] = StrokeFile(path, volume.spatial_shape, volume.voxel_size)
            return self._files[number]

    def all_strokes(self) -> list[tuple[int, StrokeFile]]:
        """Those of every image that was painted on."""
        return [(n, file) for n in range(len(self.images)) if (file := self.strokes(n)).path.exists()]

    def paint(
        self, number: int, z: int, spans: Sequence[Span], client: str, id_: str = ""
    ) -> tuple[int, list[Span]]:
        """Paints, and tells of it.

        Args:
            client: the window that it was painted in.
            id_: of the stroke; one that comes again gets the answer that it got before.

        Returns:
            The revision, and what was there before; see `StrokeFile.paint`.
        """
        if spans and max(value for *_, value in spans) > len(self.classes):
            raise InputError(f"there are {len(self.classes)} classes, but a higher number came; add a class")
        with self.lock:
            if id_ and id_ in self._answers:
                return self._answers[id_]
            before = self.strokes(number).paint(z, spans)
            self.revision += 1
            self._changes.append(Change(self.revision, client, number, z, spans))
            self._answers[id_] = self.revision, before
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
            return self.revision, before

    def changes(self, since: int) -> list[Change] | None:
        """Those after a revision; None if some of them are no longer known."""
        with self.lock:
            found = [change for change in self._changes if change.revision > since]
            return found if len(found) == self.revision - since else None

    def change(self, values: dict[str, Any], colours: Sequence[str] | None = None) -> None:
        """Other settings, and colours of the classes.

        Raises:
            SettingsError: as the command line would say it; nothing is changed then.
        """
        with self.lock:
            names = values.get("classes", self.classes)
            if len(names) > _MAX_CLASSES or len(names) < len(self.classes):
                raise InputError(f"{len(names)} classes came; give {len(self.classes)} to {_MAX_CLASSES}")
            self._save(values)
            self.config = self._read()
            if colours is not None:
                write_json(self.folder / PAGE, {"colours": list(colours)[: len(self.classes)]})
            self.revision += 1
            self._changes.append(Change(self.revision, "", -1, 0, ()))

    @contextmanager
    def settings(self) -> Iterator[dict[str, Any]]:
        """Settings of a run on what is painted now; its copy of the strokes goes if the block raises."""
        copy = self.folder / DATA / time.strftime(f"painted-%Y%m%d-%H%M%S-{secrets.token_hex(4)}")
        with self.lock:
            painted = self.all_strokes()
            if not painted:
                raise InputError("nothing is painted yet; paint a few strokes of each class")
            for _, file in painted:
                shutil.copytree(file.path, copy / file.path.name)
            values = anchored(self.config).model_dump(mode="json", exclude_unset=True)
        values["target"]["raw"] = [_with_path(name, os.path.abspath) for name in self._names]  # without ..
        values["target"]["strokes"] = [str(copy / file.path.name) for _, file in painted]
        try:
            yield values
        except BaseException:
            shutil.rmtree(copy)
            raise

    def _save(self, values: dict[str, Any]) -> None:
        path = self.folder / SETTINGS
        known: dict[str, Any] = (
            read_yaml(path) if path.exists() else {"classes": ["background", "foreground"]}
        )
        raw = [_with_path(name, partial(os.path.relpath, start=self.folder)) for name in self._names]
        target = {**known.get("target", {}), "raw": raw, "strokes": f"{STROKES}/*.zarr"}
        target |= {key: values.pop(key) for key in ("channels",) if key in values}
        merged = {"enhancer": _ENHANCER, **known, **values, "target": target}
        validated(AdaptConfig, merged, SETTINGS)
        write_text(path, yaml.safe_dump(merged, sort_keys=False, allow_unicode=True))

    def _read(self) -> AdaptConfig:
        path = self.folder / SETTINGS
        return validated(AdaptConfig, read_yaml(path), str(path))


def project_folder(names: Sequence[str]) -> Path:
    """Where the project of some images is kept if nobody says it: in a folder `shallow2deep` beside them."""
    path = split_name(names[0])[0].absolute()
    if path.is_dir() and path.suffix.lower() != ".zarr":
        return path / "shallow2deep"
    return path.parent / "shallow2deep"


def _require_own_names(images: Sequence[Volume]) -> None:
    """Strokes belong to images by their names, so these must differ."""
    seen: dict[str, Volume] = {}
    for image in images:
        if (other := seen.setdefault(plain_name(image), image)) is not image:
            raise InputError(
                f"{other.name} and {image.name}: strokes could not tell them apart by name; give one of "
                "them, such as 'folder/*_raw.png'"
            )


def _with_path(name: str, change: Callable[[Path], str]) -> str:
    """A name with another path, and the same inner path."""
    path, key = split_name(name)
    return f"{change(path)}:{key}" if key else change(path)

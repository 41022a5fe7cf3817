"""Enhancers by name: those that come with shallow2deep, and the user's own packages."""

import logging
import os
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import nn

from shallow2deep.errors import DamagedFileError, InputError
from shallow2deep.exports.archive import RDF_NAMES
from shallow2deep.exports.packages import Package, load_package, load_packaged_companion, read_package
from shallow2deep.io.known import Known
from shallow2deep.networks.model import WITH_RAW, ModelSpec, load_model, load_spec
from shallow2deep.settings import AdaptConfig

log = logging.getLogger(__name__)

OWN_FOLDERS = "S2D_MODELS"  # environment variable; several folders stand apart as in PATH
ENHANCER = "enhancer"  # the stage that trains one, or keeps a run's own copy
COPY = "package"  # what a package is called where a run keeps a copy of it


@dataclass(frozen=True)
class Model:
    """A package that can be given by its name."""

    name: str
    path: Path
    package: Package


def models() -> list[Model]:
    """All packages in the checkout or installed with the program, and in the user's own folders.

    Own ones lie in the folders of the environment variable S2D_MODELS, or in ~/.shallow2deep/models; they
    come before others of the same name. What cannot be read is left out, with a warning.
    """
    found = []
    for name, path in sorted(_paths().items()):
        try:
            found.append(Model(name, path, read_package(path)))
        except InputError as error:
            log.warning("not usable: %s", error)
    return found


def _paths() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in (*_own_folders(), *_folders_with_the_program()):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if is_package(path) and not path.name.startswith("."):
                    found.setdefault(path.stem if path.is_file() else path.name, path)
    return found


def _own_folders() -> list[Path]:
    stated = os.environ.get(OWN_FOLDERS)
    if stated:
        return [Path(folder).expanduser() for folder in stated.split(os.pathsep) if folder]
    return [Path.home() / ".shallow2deep" / "models"]


def _folders_with_the_program() -> list[Path]:
    """`pretrained` beside the package in a checkout, or where the wheel put it."""
    folders = [Path(str(files("shallow2deep"))).parent / "pretrained"]
    try:
        installed = distribution("shallow2deep").files or []
    except PackageNotFoundError:
        installed = []
    places = {Path(str(f.locate())).resolve().parent for f in installed if f.parts[-2:-1] == ("pretrained",)}
    return [*folders, *sorted(places)]


def is_package(path: Path) -> bool:
    """Whether `path` looks like a bioimage.io package: a zip file, or a folder with a description."""
    return path.suffix.lower() == ".zip" if path.is_file() else any((path / n).is_file() for n in RDF_NAMES)


def find_enhancer(name: str | Path) -> Path:
    """Where an enhancer is: a folder with model.json, or a package.

    Args:
        name: a run of enhancer-train, an enhancer's folder, a package, or the name of one of `models`.

    Raises:
        InputError: none of these.
    """
    path = Path(name)
    for place in (path, path / "enhancer", path / f"{COPY}.zip", path / COPY):
        if (place / "model.json").is_file() or (place.exists() and is_package(place)):
            return place
    known = _paths()
    if path.name in known and (str(name) == path.name or path.parent == Path.cwd()):
        return known[path.name]
    raise InputError(
        f"{name}: no enhancer here; give a finished run of enhancer-train, a bioimage.io package, or one of "
        f"{', '.join(known) or 'none yet'} (s2d models)"
    )


@dataclass(frozen=True)
class OpenedEnhancer:
    """An enhancer that was found: described, and loaded when its network is asked for.

    Attributes:
        place: a folder with model.json, or a package.
        trust: whether Python code in a package may be run.
        fingerprint: of the files that decide what it gives.
    """

    place: Path
    spec: ModelSpec
    trust: bool
    fingerprint: str

    @cached_property
    def network(self) -> nn.Module:
        """It gives logits and has `step` and `halo`."""
        return load_enhancer(self.place, self.trust)[0]

    @property
    def is_ours(self) -> bool:
        """Whether this program trained it."""
        return not is_package(self.place) or read_package(self.place).model is not None

    @property
    def companion(self) -> nn.Module | None:
        """The network of the same roles that sees raw beside the map, if there is one; see `network`."""
        return self.described_companion[0] if self.described_companion else None

    @cached_property
    def described_companion(self) -> tuple[nn.Module, ModelSpec] | None:
        """The same with its description."""
        found = load_companion(self.place)
        if found is None:
            return None
        spec = found[1]
        if (spec.in_channels, spec.ndim, spec.outputs) != (2, self.spec.ndim, self.spec.outputs):
            raise DamagedFileError(
                f"{self.place}: its companion does not take a map and raw, or tells other things than the "
                "enhancer; export it again"
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        unloaded = ("network", "described_companion")
        return {name: value for name, value in vars(self).items() if name not in unloaded}


def open_enhancer(name: str | Path, trust: bool = False, known: Known | None = None) -> OpenedEnhancer:
    """Finds and checks an enhancer; its network is loaded unless that was tried before.

    Args:
        name: see `find_enhancer`.
        trust: whether Python code in a package may be run.
        known: what was found out about the files before.

    Raises:
        InputError: not an enhancer, or damaged.
    """
    known = known or Known()
    place = find_enhancer(name)
    spec = read_package(place).spec if is_package(place) else load_spec(place)
    spec.layers.allow(trust)
    fingerprint = fingerprint_of(place, known)
    _check_kind(spec, name)
    opened = OpenedEnhancer(place, spec, trust, fingerprint)
    known.once(f"loads {fingerprint}", lambda: (opened.network, opened.companion))
    return opened


@dataclass(frozen=True)
class Given:
    """An enhancer as the settings give it.

    Attributes:
        stage: the name of the stage that keeps the run's own copy.
        class_name: the class that it is given for; None if it is the only one.
    """

    name: str
    stage: str
    class_name: str | None = None


def given_enhancers(config: AdaptConfig) -> list[Given]:
    """The enhancer of an adaptation, or one for each of some classes."""
    if isinstance(config.enhancer, str):
        return [Given(config.enhancer, ENHANCER)]
    numbers = {name: number for number, name in enumerate(config.classes)}
    return [Given(path, f"{ENHANCER}-{numbers[name]}", name) for name, path in config.enhancer.items()]


def kept_classes(config: AdaptConfig, spec: ModelSpec, given: Given) -> frozenset[int]:
    """The numbers of the classes, from 1, that an enhancer is not applied to.

    An enhancer of one structure is applied to the class of that name, or to the only one.

    Raises:
        InputError: there are several classes, and which of them the enhancer knows is not evident.
    """
    names = config.classes[1:]
    wanted = config.enhanced.classes if given.class_name is None else (given.class_name,)
    if wanted is None and len(names) > 1:
        structures = [str(name) for name in spec.record.get("classes", ("", "one structure"))][1:]
        wanted = names if len(structures) > 1 else tuple(name for name in names if name in structures)
        if not wanted:
            raise InputError(
                f"the enhancer knows {structures[0]}, but there are the classes {', '.join(names)}; choose "
                f"the one that it is for, e.g. --enhancer {names[0]}={given.name}"
            )
    if unknown := [name for name in wanted or () if name not in names]:
        raise InputError(
            f"enhanced.classes has {unknown[0]}, but the classes are {', '.join(names)}; give some of them"
        )
    return frozenset(n for n, name in enumerate(names, 1) if wanted and name not in wanted)


def fingerprint_of(place: Path, known: Known) -> str:
    """Of a package, or of the files in a model's folder that decide what it gives."""
    if is_package(place):
        return known.sha256(place)
    files = (f / name for f in (place, place / WITH_RAW) for name in ("model.json", "weights.safetensors"))
    return " ".join(known.sha256(file) for file in files if file.is_file())


def load_enhancer(name: str | Path, trust: bool = False) -> tuple[nn.Module, ModelSpec]:
    """The enhancer's network, which gives logits and has `step` and `halo`, and its description.

    Args:
        name: see `find_enhancer`.
        trust: whether Python code in a package may be run.

    Raises:
        InputError: not an enhancer, or damaged.
    """
    place = find_enhancer(name)
    if is_package(place):
        network, spec = load_package(place, trust)
    else:
        load_spec(place).layers.allow(trust)
        network, spec = load_model(place)
    _check_kind(spec, name)
    return network, spec


def load_companion(place: Path) -> tuple[nn.Module, ModelSpec] | None:
    """The network that an enhancer has for raw beside maps, and its description; None if it has none.

    Raises:
        DamagedFileError: files that are truncated or altered.
    """
    if is_package(place):
        return load_packaged_companion(place)
    return load_model(place / WITH_RAW) if (place / WITH_RAW).is_dir() else None


def _check_kind(spec: ModelSpec, name: str | Path) -> None:
    if spec.kind != "enhancer":
        raise InputError(f"{name} is a {spec.kind}, not an enhancer; give the folder of an enhancer")
    if spec.in_channels != 1:
        raise InputError(f"{name} takes {spec.in_channels} channels; an enhancer takes one map")

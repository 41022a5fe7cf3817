"""The network whose weights a training begins with, found and checked."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from shallow2deep.errors import InputError, MissingDataError
from shallow2deep.exports.packages import load_package, read_package
from shallow2deep.inputs.labelled_images import LABELLED_NET
from shallow2deep.inputs.models import ENHANCER, find_enhancer, is_package, load_companion
from shallow2deep.inputs.results import SOURCE_NET
from shallow2deep.io.atomic import read_json
from shallow2deep.io.known import Known
from shallow2deep.networks.model import METADATA, WITH_RAW, ModelSpec, load_model, load_spec
from shallow2deep.networks.starting import frozen_parts, matching_layers, require_some, take_layers
from shallow2deep.settings import OptimisationSettings

log = logging.getLogger(__name__)

PRETRAINED_NET = "pretrained_net"  # the stage that trains a network without labels


@dataclass(frozen=True)
class Start:
    """A trained network whose layers another one takes over.

    Attributes:
        name: as it was given.
        place: a folder with model.json, or a package.
        fingerprint: of its weights.
    """

    name: str
    place: Path
    spec: ModelSpec
    fingerprint: str

    @property
    def licences(self) -> list[str]:
        """The terms of the data that it learned from."""
        said = self.spec.metadata.get("data_licences", ()) or _licences_above(self.place)
        return [str(one) for one in said] if isinstance(said, list | tuple) else []

    def tensors(self, companion: bool = False) -> dict[str, Tensor]:
        """By name.

        Args:
            companion: of the network for raw beside maps, if it has one.

        Raises:
            InputError: damaged, changed since it was opened, or of Python code that is not trusted.
        """
        if _fingerprint(self.place, Known()) != self.fingerprint:
            raise InputError(f"{self.name} has changed since this training began; run the same command again")
        found = load_companion(self.place) if companion else None
        if found is None:
            found = load_package(self.place) if is_package(self.place) else load_model(self.place)
        return found[0].state_dict()

    def require_frozen(self, spec: ModelSpec, frozen: Sequence[str], companion: bool = False) -> None:
        """Whether all layers that will not be trained can be taken over; see `tensors`.

        Raises:
            InputError: some cannot, and would stay as they are drawn.
        """
        left = matching_layers(spec.on_meta(), self.tensors(companion)).left
        drawn = [layer for layer in left if any(f"{layer}.".startswith(f"{name}.") for name in frozen)]
        if drawn:
            of = "the companion's " if companion else ""
            raise InputError(
                f"frozen has {', '.join(frozen)}, but {self.name} has no weights for {of}{drawn[0]}, which "
                "would stay as it is drawn; freeze other parts, or set network as it was there"
            )

    def give(self, network: nn.Module, companion: bool = False) -> dict[str, Any]:
        """Hands its layers over, and says which; what there is to record of that."""
        found = take_layers(network, self.tensors(companion))
        log.info("weights of %s: %s", self.name, found.in_words)
        of = {key: self.spec.metadata[key] for key in ("name",) if key in self.spec.metadata}
        return {"kind": self.spec.kind, **of, "taken": len(found.taken), "from_scratch": list(found.left)}


def open_start(
    settings: OptimisationSettings, spec: ModelSpec, stage: str, known: Known | None = None
) -> Start | None:
    """The network that a training starts from, if any; also checks which parts are not trained.

    Args:
        spec: of the network to train.
        stage: that trains it: of a run, the network of that stage is taken first.

    Raises:
        MissingDataError: there is no network.
        InputError: one that cannot be trained, or of which nothing matches.
    """
    network = spec.on_meta()
    frozen_parts(network, settings.frozen)
    if settings.weights is None:
        return None
    known, place = known or Known(), _place(Path(settings.weights), stage)
    if is_package(place) and read_package(place).model is None:
        raise InputError(
            f"{settings.weights} is another program's package, whose network (TorchScript, or Python) can be "
            "applied but not trained; give a run, or a package that shallow2deep has written"
        )
    found = load_spec(place) if not is_package(place) else read_package(place).spec
    start = Start(settings.weights, place, found, _fingerprint(place, known))
    shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    known.once(
        f"starts {start.fingerprint} {shapes}", lambda: require_some(network, start.tensors(), start.name)
    )
    if settings.frozen:
        start.require_frozen(spec, settings.frozen)
    return start


def require_elsewhere(run: Path, starts: Mapping[str, str | None]) -> None:
    """Whether no stage of a run starts from what it would remove: its own network.

    Args:
        starts: the weights that each stage starts from.

    Raises:
        InputError: one does.
    """
    for stage, weights in starts.items():
        if weights and _place(Path(weights), stage).resolve().is_relative_to((run / stage).resolve()):
            raise InputError(
                f"weights: {weights} is what {run} trains anew and would remove; give another --run"
            )


def with_start(inputs: dict[str, str], start: Start | None) -> dict[str, str]:
    """The inputs of a stage, with the weights that it starts from."""
    return inputs | ({"weights": start.fingerprint} if start else {})


def with_licences(own: Iterable[str], start: Start | None) -> list[str]:
    """The terms of all data that a network learns from, those of its start among them."""
    return list(dict.fromkeys([*own, *(start.licences if start else ())]))


def _place(path: Path, stage: str) -> Path:
    """Where the network is; of a run that has several, that of the same stage, or else the first."""
    names = (stage, PRETRAINED_NET, LABELLED_NET, "segmentor-*", SOURCE_NET, ENHANCER)
    folders = [path, *(found for name in names for found in sorted(path.glob(name)))]
    for folder in folders:
        if (folder / "model.json").is_file() or (folder.exists() and is_package(folder)):
            return folder
    if path.is_file():
        raise InputError(
            f"{path}: no network that can be trained (TorchScript cannot); give a run, a folder with "
            "model.json, or a package"
        )
    try:
        return find_enhancer(path)
    except InputError:
        raise MissingDataError(
            f"{path}: no trained network here; give a finished run, a folder with model.json, a package that "
            "shallow2deep has written, or a name that s2d models lists"
        ) from None


def _licences_above(place: Path) -> Any:
    """Of a network that a training kept besides its last one: its stage says them."""
    for folder in list(place.parents)[:2]:
        if (folder / METADATA).is_file():
            said = read_json(folder / METADATA)
            return said.get("data_licences", ()) if isinstance(said, dict) else ()
    return ()


def _fingerprint(place: Path, known: Known) -> str:
    if is_package(place):
        return known.sha256(place)
    files = (folder / "weights.safetensors" for folder in (place, place / WITH_RAW))
    return " ".join(known.sha256(file) for file in files if file.is_file())

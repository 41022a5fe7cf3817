"""Of what a network is made, besides its sizes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from shallow2deep.networks.own import OwnNetwork, trust_source
from shallow2deep.settings import NetworkSettings


@dataclass(frozen=True)
class Layers:
    """See `UNet`; the defaults are those of all networks that say nothing of it.

    Attributes:
        own: a class of the user's own that takes the place of all else.
    """

    kind: str = "unet"
    norm: str = "batch"
    activation: str = "relu"
    dropout: tuple[float, ...] = ()
    squeeze: str = "spatial"
    own: OwnNetwork | None = None

    @classmethod
    def of(cls, network: NetworkSettings) -> Self:
        """Raises InputError for a file of one's own that cannot be read."""
        own = OwnNetwork.named(network.file, network.arguments) if network.file else None
        return cls(network.kind, network.norm, network.activation, network.dropout, network.squeeze, own)

    @property
    def is_local(self) -> bool:
        """Whether a pixel's result depends on its surroundings alone, so that blocks join to the whole."""
        return self.norm != "group" and not (self.kind == "residual-se" and self.squeeze != "spatial")

    def allow(self, trust: bool) -> None:
        """Lets the code of a network of its own run, if its user trusts the model."""
        if self.own and trust:
            trust_source(self.own.source)

    @property
    def in_words(self) -> str:
        """The kind of network, as people call it."""
        if self.own:
            return f"{self.own.name} of a file of your own"
        return {
            "unet": "U-Net",
            "residual": "residual U-Net",
            "residual-se": "residual U-Net with squeeze and excitation",
            "attention": "attention U-Net",
            "unet++": "U-Net++",
        }[self.kind]

    @property
    def arguments(self) -> dict[str, Any]:
        """Of `UNet`, those that differ from its defaults."""
        plain = asdict(type(self)())
        found = {name: value for name, value in asdict(self).items() if value != plain[name]}
        return {name: list(value) if name == "dropout" else value for name, value in found.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises ValueError or TypeError for values that a network cannot have."""
        said = dict(values)
        own = OwnNetwork(**said.pop("own")) if said.get("own") is not None else said.pop("own", None)
        if unknown := said.keys() - {"kind", "norm", "activation", "dropout", "squeeze"}:
            raise ValueError(f"layers have {min(map(str, unknown))!r:.40}")
        checked = NetworkSettings.model_validate(said)
        return cls(**{name: getattr(checked, name) for name in said}, own=own)

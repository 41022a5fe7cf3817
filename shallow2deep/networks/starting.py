"""Training that does not begin from scratch: layers of another network are taken, parts are not trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from shallow2deep.errors import InputError, SettingsError

_LISTED = 6  # layers that are named


@dataclass(frozen=True)
class TakenLayers:
    """Which layers of a network got the weights of another one, and which did not."""

    taken: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """For people.

        >>> TakenLayers(("stem", "down.0"), ("head.0",)).in_words
        '2 of 3 layers taken; from scratch: head.0'
        """
        said = f"{len(self.taken)} of {len(self.taken) + len(self.left)} layers taken"
        if not self.left:
            return said
        more = f" and {len(self.left) - _LISTED} more" if len(self.left) > _LISTED else ""
        return f"{said}; from scratch: {', '.join(self.left[:_LISTED])}{more}"


def matching_layers(network: nn.Module, tensors: Mapping[str, Tensor]) -> TakenLayers:
    """The layers whose weights and statistics are all among `tensors`, by name and shape, and the others."""
    own = network.state_dict()
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in own))
    taken = [layer for layer in layers if _matches(layer, own, tensors)]
    left = tuple(layer for layer in layers if layer not in taken)
    return TakenLayers(tuple(taken), left)


def _matches(layer: str, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> bool:
    names = [name for name in own if name.rpartition(".")[0] == layer]
    return all(name in tensors and tensors[name].shape == own[name].shape for name in names)


def take_layers(network: nn.Module, tensors: Mapping[str, Tensor]) -> TakenLayers:
    """Gives a network the weights of all layers that match; see `matching_layers`."""
    found = matching_layers(network, tensors)
    own = network.state_dict()
    for name in own:
        if name.rpartition(".")[0] in found.taken:
            own[name] = tensors[name]
    network.load_state_dict(own)
    return found


def require_some(network: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Whether any convolution or other matrix can be taken over.

    Raises:
        InputError: none can.
    """
    taken = matching_layers(network, tensors).taken
    if not any(tensors[name].ndim > 1 for name in tensors if name.rpartition(".")[0] in taken):
        raise InputError(
            f"{origin}: none of its layers has the name and the shape of one of the network to train; set "
            "network as it was there, or leave out weights"
        )


def frozen_parts(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The parts of a network that are not trained, by name, such as `stem`, `down` or `down.0`.

    Raises:
        SettingsError: no part has such a name, or nothing would be left to train.
    """
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules or not name or not list(modules[name].state_dict()):
            known = [n for n, part in modules.items() if n.count(".") < 2 and n and list(part.state_dict())]
            raise SettingsError(
                f"frozen has {name!r:.40}, but the parts of this network are {', '.join(known)}"
            )
    frozen = {id(p) for name in names for p in modules[name].parameters()}
    if names and all(id(p) in frozen for p in network.parameters()):
        raise SettingsError(
            f"frozen: {', '.join(names)} are all parts, so nothing is left to train; name fewer"
        )
    return [modules[name] for name in names]

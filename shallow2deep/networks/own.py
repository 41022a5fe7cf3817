"""Networks of the user's own: a class in a Python file that the settings name.

Its source goes along with the model. It is run only where the user gave settings that name that very file, or
trusts the model: see `trust_source`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from shallow2deep.errors import InputError, MissingDataError, one_line
from shallow2deep.settings import NetworkSettings

_MAX_BYTES = 2**20
_TOLERANCE = 1e-4
_trusted: set[str] = set()  # checksums of sources


@dataclass(frozen=True)
class OwnNetwork:
    """A class of networks, `Class(in_channels, out_channels, features, strides, **arguments)`.

    It gives logits of the size of its input, and has `step` and `halo`, pixels per axis, as `UNet` has.

    Attributes:
        source: of its module.
        name: of the class.
        arguments: JSON-able.
    """

    source: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (isinstance(self.source, str) and isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError("the source and the name of a class were expected")
        if not isinstance(self.arguments, Mapping) or len(self.source) > _MAX_BYTES:
            raise ValueError("a source of that size, or arguments without names")

    @classmethod
    def named(cls, name: str, arguments: Mapping[str, Any]) -> Self:
        """`file.py:Class`, as settings name it.

        Raises:
            InputError: no such file, or none of that name.
        """
        file, _, class_name = name.rpartition(":")
        path = Path(file)
        if not (path.suffix == ".py" and class_name.isidentifier()):
            raise InputError(f'network.file is "{one_line(name)}"; FILE.py:CLASS was expected')
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise InputError(f"{path}: larger than a network's source can be, {_MAX_BYTES} bytes")
            source = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise MissingDataError(
                f"{path}: not readable ({one_line(error)}); give the file of the network's class"
            ) from None
        return cls(source, class_name, dict(arguments))

    @property
    def checksum(self) -> str:
        return _checksum(self.source)

    def build(self, in_channels: int, out_channels: int, features: int, strides: Any) -> nn.Module:
        """Runs its source.

        Raises:
            InputError: it is not trusted, it fails, or what it makes is no network of this kind.
        """
        names = self.run(self.source)
        try:
            network = names[self.name](in_channels, out_channels, features, strides, **self.arguments)
        except Exception as error:  # of code that is not ours
            raise self._error(f"fails ({type(error).__name__}: {one_line(error)})") from None
        sizes = [getattr(network, name, None) for name in ("step", "halo")]
        ndim = len(strides[0])
        if not isinstance(network, nn.Module) or not all(_is_size(size, ndim) for size in sizes):
            raise self._error(f"is no torch module with step and halo, {ndim} whole numbers each")
        return network

    def run(self, source: str) -> dict[str, Any]:
        """The names that its source, or one that begins with it, defines.

        Raises:
            InputError: it is not trusted, or fails.
        """
        if self.checksum not in _trusted or not source.startswith(self.source.rstrip()):
            raise InputError(
                f"the network {self.name} is Python code of the model's author, which could do anything; use "
                "--trust if you know them"
            )
        names: dict[str, Any] = {"__name__": f"own_network_{self.checksum[:12]}"}
        try:
            exec(compile(source, f"<{self.name}>", "exec"), names)
        except Exception as error:  # of code that is not ours
            raise self._error(f"fails ({type(error).__name__}: {one_line(error)})") from None
        return names

    def check(self, network: nn.Module, in_channels: int, out_channels: int) -> None:
        """Whether it gives logits of its input's size, twice the same, and for a part what for the whole.

        Raises:
            InputError: what does not hold.
        """
        step, halo = sizes_of(network)
        size = [2 * h + 3 * s for h, s in zip(halo, step, strict=True)]
        random = torch.Generator().manual_seed(0)
        x = torch.rand((2, in_channels, *size), generator=random)
        x = x * torch.linspace(0.2, 2, size[-1])  # statistics differ from part to part
        part: Any = tuple(slice(s, None) for s in step)
        network.eval()
        try:
            with torch.inference_mode():
                whole, again, shifted = network(x), network(x), network(x[..., *part])
        except Exception as error:  # of code that is not ours
            raise self._error(f"fails on {tuple(x.shape)} ({one_line(error)})") from None
        expected = (2, out_channels, *size)
        if not isinstance(whole, torch.Tensor) or tuple(whole.shape) != expected:
            raise self._error(f"gave {tuple(getattr(whole, 'shape', ()))} where {expected} was expected")
        if not whole.isfinite().all() or not torch.equal(whole, again):
            raise self._error("gives values that are not finite, or differ from time to time")
        inner: Any = tuple(slice(h + s, h + 2 * s) for h, s in zip(halo, step, strict=True))
        same: Any = tuple(slice(h, h + s) for h, s in zip(halo, step, strict=True))
        difference = float((whole[..., *inner] - shifted[..., *same]).abs().max())
        if difference > _TOLERANCE:
            raise self._error(
                f"differs by {difference:.2g} between a part and the whole, so blocks would not join; give "
                f"it a larger halo than {halo}, or no normalisation over the image"
            )

    def _error(self, what: str) -> InputError:
        return InputError(f"the network {self.name} {what}; correct its class")


def trust_source(source: str) -> None:
    """Lets this process run a source: its user has named its file, or trusts its author."""
    _trusted.add(_checksum(source))


def trust_files(*networks: NetworkSettings) -> None:
    """Lets this process run the files that settings name, as their user has given those."""
    for network in networks:
        if network.file:
            trust_source(OwnNetwork.named(network.file, {}).source)


def _checksum(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def sizes_of(network: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A network's `step` and `halo`."""
    return tuple(network.step), tuple(network.halo)  # type: ignore[arg-type]


def _is_size(size: Any, ndim: int) -> bool:
    return isinstance(size, Sequence) and len(size) == ndim and all(type(n) is int and n >= 0 for n in size)

"""What each channel of a map tells: a class and a role, stored with every model and every map."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

IGNORED = 255  # in place of a class's number: a pixel that does not count; there are at most 255 classes
BACKGROUND, FOREGROUND, BOUNDARY = "background", "foreground", "boundary"


@dataclass(frozen=True)
class Output:
    """One channel.

    Attributes:
        class_name: the class that it tells of; None in the description of an enhancer, which tells of the
            class whose map it is given.
        role: "foreground": the probability of the class; "background": likewise, of the class that all others
            stand out from, in maps whose channels add up to 1; "boundary": of its border; or what another
            program calls a channel.
    """

    class_name: str | None
    role: str = FOREGROUND

    @property
    def title(self) -> str:
        """For people and other programs.

        >>> [Output("disc").title, Output("disc", BOUNDARY).title, Output(None).title]
        ['disc', 'disc boundary', 'foreground']
        """
        if self.class_name is None:
            return self.role
        return self.class_name if self.role in (FOREGROUND, BACKGROUND) else f"{self.class_name} {self.role}"

    def of(self, class_name: str) -> Self:
        """The same role for a class."""
        return type(self)(class_name, self.role)

    def to_dict(self) -> dict[str, Any]:
        return {"class": self.class_name, "role": self.role}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises KeyError or TypeError where `values` are no such record."""
        name = values["class"]
        return cls(None if name is None else str(name), str(values["role"]))


def of_forest(classes: Iterable[str]) -> tuple[Output, ...]:
    """The channels of a forest's map: the first class is the background."""
    return tuple(Output(name, BACKGROUND if n == 0 else FOREGROUND) for n, name in enumerate(classes))


def of_foreground(classes: Iterable[str]) -> tuple[Output, ...]:
    """The channels of a network that tells foreground classes apart."""
    return tuple(Output(name) for name in classes)


def foreground(p: np.ndarray, outputs: Sequence[Output]) -> np.ndarray:
    """The channels of a map `(K, *spatial)` that tell of foreground classes, in their order.

    >>> p = np.arange(3.0)[:, None, None]
    >>> foreground(p, of_forest(["ground", "disc", "rod"])).ravel().tolist()
    [1.0, 2.0]
    >>> foreground(p[:2], [Output("disc", BOUNDARY), Output("disc")]).ravel().tolist()
    [1.0]
    """
    chosen = [n for n, output in enumerate(outputs) if output.role == FOREGROUND]
    if chosen == list(range(chosen[0], len(p))):
        return p[chosen[0] :]  # a view
    return p[chosen]


def picked(
    maps: Mapping[str, tuple[np.ndarray, Sequence[Output]]],
) -> tuple[np.ndarray, tuple[Output, ...]]:
    """Of a map for each class, the channels that tell of that class.

    Args:
        maps: by the name of the class, `(K, *spatial)` and what its channels tell.

    >>> one, other = np.zeros((2, 1)), np.ones((1, 1))
    >>> p, outputs = picked({"disc": (one, of_forest(["ground", "disc"])), "rod": (other, [Output("rod")])})
    >>> p.ravel().tolist(), [output.title for output in outputs]
    ([0.0, 1.0], ['disc', 'rod'])
    """
    chosen = [
        (p[n], output) for name, (p, all_) in maps.items()
        for n, output in enumerate(all_) if output.class_name == name
    ]  # fmt: skip
    channels, outputs = zip(*chosen, strict=True)
    return np.stack(channels), outputs


def completed(outputs: Sequence[Output], background: str) -> tuple[Output, ...]:
    """What the channels of every map that is written tell: the background, each class, and then all else.

    >>> [output.title for output in completed([Output("disc", BOUNDARY), Output("disc")], "ground")]
    ['ground', 'disc', 'disc boundary']
    """
    if is_exclusive(outputs):
        return tuple(outputs)
    ordered = sorted(outputs, key=lambda output: output.role != FOREGROUND)
    return Output(background, BACKGROUND), *ordered


def complete(p: np.ndarray, outputs: Sequence[Output]) -> np.ndarray:
    """A map `(K, *spatial)` with the channels of `completed`.

    Where classes were told apart from the background one by one and together make up more than 1, they are
    divided by their sum; what they lack of 1 is the background's.

    >>> p = complete(np.array([[0.25], [0.75]]), [Output("disc", BOUNDARY), Output("disc")])
    >>> p.ravel().tolist()
    [0.25, 0.75, 0.25]
    >>> complete(np.array([[0.75], [0.5]]), [Output("disc"), Output("rod")]).ravel().tolist()
    [0.0, 0.6, 0.4]
    """
    if is_exclusive(outputs):
        return p
    classes = foreground(p, outputs)
    classes = classes / np.maximum(classes.sum(0), 1)
    rest = [n for n, output in enumerate(outputs) if output.role != FOREGROUND]
    return np.concatenate([np.clip(1 - classes.sum(0, keepdims=True), 0, 1), classes, p[rest]])


def is_exclusive(outputs: Iterable[Output]) -> bool:
    """Whether the channels add up to 1, so that what foreground classes lack is the background's."""
    return any(output.role == BACKGROUND for output in outputs)

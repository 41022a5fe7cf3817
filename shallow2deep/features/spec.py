"""What is computed: one complete record of a filter bank, saved with every forest and compared on use."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Self

from shallow2deep.errors import InputError

FILTERS = (
    "GaussianSmoothing",
    "LaplacianOfGaussian",
    "GaussianGradientMagnitude",
    "DifferenceOfGaussians",
    "StructureTensorEigenvalues",
    "HessianOfGaussianEigenvalues",
)
LIBRARIES = ("fastfilters", "fastfilters float32", "vigra")
DEFAULT_SCALES = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
PRESMOOTHING_WINDOW = 3.5
WINDOW = 2.0
_SMALLEST_SCALE = 0.7  # below it ilastik offers the Gaussian alone
_LARGEST_SCALE = 100.0
_MAX_FILTERS = 1000
_MAX_CHANNELS = 64


def kernel_radius(sigma: float, window: float) -> int:
    """Pixels on each side of a kernel's centre."""
    return math.floor(window * sigma + 0.5)


@dataclass(frozen=True)
class Filter:
    """One filter at one scale.

    Attributes:
        name: one of `FILTERS`.
        scale: what ilastik calls sigma, in pixels.
        presmoothing: sigma of the Gaussian that the image passes first.
        sigmas: those of the filter itself. DifferenceOfGaussians: the wider, the narrower;
            StructureTensorEigenvalues: the gradient's, then that of the smoothing of its products.
        in_2d: of a spec of ndim 3: computed plane by plane, presmoothing and all.
    """

    name: str
    scale: float
    presmoothing: float
    sigmas: tuple[float, ...]
    in_2d: bool = False

    @classmethod
    def ilastik(cls, name: str, scale: float, in_2d: bool = False, library: str = "fastfilters") -> Self:
        """A filter as ilastik derives it from its name and scale.

        ilastik smooths first and then filters at a sigma of at most 1, so that no kernel is wide. It asks
        for a structure tensor with gradients at sigma and smoothing at sigma / 2; vigra computes that, but
        the binding of fastfilters swaps the two, and so do we.
        """
        presmoothing = math.sqrt(scale**2 - 1) if scale > 1 else scale
        sigma = min(scale, 1.0)
        if name == "DifferenceOfGaussians":
            return cls(name, scale, presmoothing, (sigma, 0.66 * sigma), in_2d)
        if name == "StructureTensorEigenvalues":
            sigmas = (0.5 * sigma, sigma)
            return cls(name, scale, presmoothing, sigmas[::-1] if library == "vigra" else sigmas, in_2d)
        return cls(name, scale, presmoothing, (sigma,), in_2d)

    @property
    def title(self) -> str:
        """Name and scale, and what else tells it from others of the same name."""
        return f"{self.name}@{self.scale}{' in 2D' if self.in_2d else ''}"

    def size(self, ndim: int) -> int:
        """Number of features of one channel."""
        if not self.name.endswith("Eigenvalues"):
            return 1
        return 2 if self.in_2d else ndim

    @property
    def radius(self) -> int:
        """Pixels around a pixel that its features depend on."""
        widths = [max(kernel_radius(sigma, WINDOW), 1) for sigma in self.sigmas]  # vigra's are never 0
        own = sum(widths) if self.name == "StructureTensorEigenvalues" else max(widths)
        return kernel_radius(self.presmoothing, PRESMOOTHING_WINDOW) + own


@dataclass(frozen=True)
class Part:
    """Filters of one channel that are computed together: all in 3D, or all in 2D.

    Attributes:
        starts: where each filter's features start in what is filled.
    """

    filters: list[Filter]
    starts: list[int]
    ndim: int
    in_2d: bool

    @property
    def sizes(self) -> list[int]:
        return [one.size(self.ndim) for one in self.filters]

    @property
    def places(self) -> list[int]:
        """Of all features."""
        return [start + n for start, size in zip(self.starts, self.sizes, strict=True) for n in range(size)]

    @property
    def starts_in_buffer(self) -> list[int]:
        """The starts where only this part's features are filled in."""
        return [0, *accumulate(self.sizes)][:-1]


@dataclass(frozen=True)
class FeatureSpec:
    """A filter bank, complete: two specs that are equal compute the same features, in the same order.

    Attributes:
        filters: in the order of their features; eigenvalues stand in descending order.
        ndim: 2 or 3, number of spatial axes that the filters work in.
        offset: the filters see `(raw - offset) / scale`.
        scale: see `offset`.
        presmoothing_window: kernels of the presmoothing reach this many sigmas.
        window: kernels of the filters reach this many sigmas.
        eigenvalue_order: of the features of one filter.
        border: how the image goes on beyond its edge.
        channels: of raw; each filter gives the features of all its channels, one after the other.
        library: of which the results are met: "fastfilters", with exact eigenvalues; "fastfilters float32",
            with its own rounding in 3D; or "vigra", which ilastik used up to 1.2.
    """

    filters: tuple[Filter, ...]
    ndim: int
    offset: float = 0.0
    scale: float = 1.0
    presmoothing_window: float = PRESMOOTHING_WINDOW
    window: float = WINDOW
    eigenvalue_order: str = "descending"
    border: str = "mirror without edge"
    channels: int = 1
    library: str = "fastfilters"

    def __post_init__(self) -> None:
        self._check()

    @classmethod
    def ilastik(
        cls,
        scales: Iterable[float] = DEFAULT_SCALES,
        ndim: int = 2,
        filters: Iterable[str] = FILTERS,
        in_2d: Iterable[float] = (),
        channels: int = 1,
    ) -> Self:
        """ilastik's filters at some scales, in its order: by filter, scale, channel, eigenvalue.

        Args:
            scales: in pixels; below 0.7 only GaussianSmoothing is taken, as in ilastik.
            ndim: 2 or 3.
            filters: names from `FILTERS`.
            in_2d: scales at which the filters of ndim 3 work plane by plane.
            channels: of raw.

        Raises:
            InputError: an unknown filter, a scale out of range, or ndim not 2 or 3.
        """
        chosen, scales, flat = list(filters), sorted(set(scales)), set(in_2d)
        if unknown := [name for name in chosen if name not in FILTERS]:
            raise InputError(f'unknown filter "{unknown[0]}"; known are {", ".join(FILTERS)}')
        if wrong := [s for s in scales if not 0.1 <= s <= _LARGEST_SCALE]:
            raise InputError(
                f"feature scale {wrong[0]} was given; 0.1 to {_LARGEST_SCALE} pixels are possible"
            )
        return cls(
            tuple(
                Filter.ilastik(name, float(scale), scale in flat)
                for name in FILTERS
                if name in chosen
                for scale in scales
                if scale >= _SMALLEST_SCALE or name == "GaussianSmoothing"
            ),
            ndim,
            channels=channels,
        )

    @classmethod
    def of_selection(
        cls,
        selection: Iterable[tuple[str, float, bool]],
        ndim: int,
        depth: int | None = None,
        channels: int = 1,
        library: str = "fastfilters",
    ) -> Self:
        """The filters that were chosen in ilastik, in the order of their features there.

        Args:
            selection: name, scale, and whether it is to work plane by plane in volumes.
            ndim: of the data, 2 or 3.
            depth: planes of a volume; in thin ones ilastik lets filters work plane by plane by itself.
            channels: of raw.
            library: see `FeatureSpec`; "fastfilters float32" is taken for eigenvalues in 3D alone.

        Raises:
            InputError: nothing chosen, or what is no filter of ilastik's.
        """

        def flat(name: str, scale: float, wanted: bool) -> bool:
            sigmas = Filter.ilastik(name, scale).sigmas
            thin = depth is not None and any(math.ceil(WINDOW * sigma) + 1 > depth for sigma in sigmas)
            return ndim == 3 and (wanted or thin)

        filters = tuple(
            Filter.ilastik(name, scale, flat(name, scale, wanted), library)
            for name, scale, wanted in selection
        )
        if library == "fastfilters float32" and all(one.size(ndim) < 3 for one in filters):
            library = "fastfilters"
        return cls(filters, ndim, channels=channels, library=library)

    def _check(self) -> None:
        if self.ndim not in (2, 3):
            raise InputError(f"features of ndim {self.ndim} were asked for; 2 and 3 are possible")
        if not 1 <= len(self.filters) <= _MAX_FILTERS:
            raise InputError(
                f"a spec with {len(self.filters)} filters was given; 1 to {_MAX_FILTERS} are possible"
            )
        if type(self.channels) is not int or not 1 <= self.channels <= _MAX_CHANNELS:
            raise InputError(f"{self.channels} channels were given; 1 to {_MAX_CHANNELS} are possible")
        if not (math.isfinite(self.offset) and math.isfinite(self.scale) and self.scale > 0):
            raise InputError(
                f"raw offset {self.offset} and scale {self.scale} were given; finite, scale > 0, needed"
            )
        known = (self.presmoothing_window, self.window, self.eigenvalue_order, self.border)
        if known != (PRESMOOTHING_WINDOW, WINDOW, "descending", "mirror without edge"):
            raise InputError(f"features by the conventions {known} cannot be computed; only ilastik's can")
        if self.library not in LIBRARIES:
            raise InputError(
                f'features as of "{self.library}" were asked for; there are {", ".join(LIBRARIES)}'
            )
        for one in self.filters:
            if (
                one.name not in FILTERS
                or not 0.1 <= one.scale <= _LARGEST_SCALE
                or one != Filter.ilastik(one.name, one.scale, one.in_2d, self.library)
                or type(one.in_2d) is not bool
                or (one.in_2d and self.ndim == 2)
            ):
                raise InputError(
                    f"the filter {one} is not one of ilastik's; build specs by FeatureSpec.ilastik"
                )

    @property
    def n_features(self) -> int:
        return self.channels * sum(one.size(self.ndim) for one in self.filters)

    @property
    def names(self) -> tuple[str, ...]:
        """One per feature, as `Filter@scale[eigenvalue]`, with the channel before it if there are several."""
        return tuple(
            f"{one.title}{channel}[{n}]"
            for one in self.filters
            for channel in ([f" of {c}" for c in range(self.channels)] if self.channels > 1 else [""])
            for n in range(one.size(self.ndim))
        )

    @property
    def halo(self) -> tuple[int, ...]:
        """Per spatial axis: pixels around a pixel that its features depend on."""
        along_z = max((one.radius for one in self.filters if not one.in_2d), default=0)
        return (along_z, *[max(one.radius for one in self.filters)] * 2)[-self.ndim :]

    def parts(self, channel: int) -> list[Part]:
        """The filters of a channel of raw, those in all axes and those plane by plane apart."""
        starts = [0, *accumulate(one.size(self.ndim) * self.channels for one in self.filters)]
        placed = [
            (one, start + channel * one.size(self.ndim))
            for start, one in zip(starts, self.filters, strict=False)
        ]
        parts = []
        for in_2d in (False, True):
            if chosen := [(one, start) for one, start in placed if one.in_2d == in_2d]:
                filters, own = map(list, zip(*chosen, strict=True))
                parts.append(Part(filters, own, 2 if in_2d else self.ndim, in_2d))
        return parts

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; what is the rule (one channel, fastfilters, not in 2D) is left out."""
        values = asdict(self)
        for key, rule in (("channels", 1), ("library", "fastfilters")):
            if values[key] == rule:
                del values[key]
        for one in values["filters"]:
            if not one["in_2d"]:
                del one["in_2d"]
        return values | {"filters": [{**one, "sigmas": list(one["sigmas"])} for one in values["filters"]]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict`.

        Raises:
            InputError: anything else than what `to_dict` gives.
        """
        try:
            filters = tuple(
                Filter(**{**one, "sigmas": tuple(float(s) for s in one["sigmas"])})
                for one in values["filters"]
            )
            return cls(**{**values, "filters": filters})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise InputError(
                f"not the record of a filter bank ({error}); it may be of another version"
            ) from None

    def difference(self, other: Self) -> str | None:
        """What `other` has different, as half a sentence, or None if the two are equal."""
        if self == other:
            return None
        for key in ("ndim", "channels", "offset", "scale", "library"):
            if getattr(self, key) != getattr(other, key):
                return f"{key} {getattr(self, key)} and {getattr(other, key)}"
        only = [sorted(set(a.names) - set(b.names)) for a, b in ((self, other), (other, self))]
        return " and ".join(f"{', '.join(names) or 'none'} on one side only" for names in only)

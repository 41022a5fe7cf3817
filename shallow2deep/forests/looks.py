"""What other microscopes, exposures and magnifications would have made of an image."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import ndimage as ndi

from shallow2deep.settings import ForestsSettings

_BRIGHTEST = 1.5  # what lies above the range, in ranges, is cut there before it is raised to a power


@dataclass(frozen=True)
class Look:
    """How a forest sees its source, where it learns and where it is applied.

    Attributes:
        noise: Gaussian, in standard deviations of the image.
        blur: standard deviation of a Gaussian, pixels.
        gamma: power to which grey values within the image's range are raised.
        zoom: factor of the number of pixels along each axis.
    """

    noise: float = 0.0
    blur: float = 0.0
    gamma: float = 1.0
    zoom: float = 1.0

    @classmethod
    def drawn(cls, settings: ForestsSettings, rng: np.random.Generator) -> Self:
        """One of those that the settings allow."""
        noise, blur = (
            float(levels[int(rng.integers(len(levels)))]) for levels in (settings.noise, settings.blur)
        )
        gamma = float(np.exp(rng.normal(0, settings.gamma)))
        return cls(noise, blur, gamma, float(np.exp(rng.uniform(*np.log(settings.zoom)))))

    @property
    def is_plain(self) -> bool:
        """Whether it changes nothing."""
        return self == Look()

    def zoomed(self, image: np.ndarray, order: int) -> np.ndarray:
        """`(*spatial)` with `zoom` times as many pixels along each axis; of labels, by order 0."""
        if self.zoom == 1:
            return image
        return ndi.zoom(image, self.zoom, order=order, mode="reflect", grid_mode=True)

    def of(
        self,
        raw: np.ndarray,
        span: tuple[float, float],
        deviation: float,
        rng: np.random.Generator,
        exposure: float = 0.0,
    ) -> np.ndarray:
        """Raw `(*spatial)` as it looks, with as many pixels as before times `zoom`; float32.

        Args:
            span: between which values nearly all of the image's pixels are.
            deviation: of the image.
            exposure: how far this image differs from the others: the standard deviation of the logarithm of
                its gain, and of its offset in deviations.
        """
        if self.is_plain and not exposure:
            return raw
        image = self.zoomed(raw.astype(np.float32), 1)
        if self.gamma != 1:
            low, width = span[0], max(span[1] - span[0], 1e-9)
            image = low + width * ((image - low) / width).clip(0, _BRIGHTEST) ** self.gamma
        if self.blur:
            image = ndi.gaussian_filter(image, self.blur)
        if exposure:
            image = image * np.exp(rng.normal(0, exposure)) + rng.normal(0, exposure) * deviation
        if self.noise:
            image = image + self.noise * deviation * rng.standard_normal(image.shape, np.float32)
        return image.astype(np.float32)

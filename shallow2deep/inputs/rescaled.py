"""Images whose values are far from those that a forest learns on: refused, or brought to their range."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from shallow2deep.blocks import Window
from shallow2deep.inference.intensity import Intensities, compare_with_learned
from shallow2deep.inputs.facts import RawFacts
from shallow2deep.inputs.images import Image
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume

log = logging.getLogger(__name__)


def in_range(
    images: Iterable[Image], learned: Intensities, what: str, rescale: bool, known: Known, advice: str = ""
) -> list[Image]:
    """The images, compared with what is learned on; all parts of one that is rescaled are so alike.

    Args:
        what, advice: see `compare_with_learned`.
        rescale: whether images far outside are brought to the range.

    Raises:
        InputError: an image is far outside, and `rescale` is not set.
    """
    found, compared = [], []
    for image in images:
        far = any(facts.intensities.is_far_from(learned) for facts in image.facts)
        if far and rescale:
            found.append(_brought_to(image, learned, known))
            log.info("%s: its values are brought to %s", image.file, learned.text)
            continue
        found.append(image)
        compared += [(p.name, facts.intensities) for p, facts in zip(image.parts, image.facts, strict=True)]
    compare_with_learned(compared, learned, what, advice=advice)
    return found


def _brought_to(image: Image, learned: Intensities, known: Known) -> Image:
    own = Intensities.together([facts.intensities for facts in image.facts])
    parts = [rescaled(part, own, learned) for part in image.parts]
    facts = [RawFacts.of(part, known) for part in parts]
    return replace(image, parts=parts, whole=rescaled(image.whole, own, learned), facts=facts)


def rescaled(volume: Volume, own: Intensities, learned: Intensities) -> Volume:
    """A lazy view of a volume whose values are in the range of `own`."""
    change = partial(_change, own, learned, volume)
    how = f"from {own.channels} to {learned.channels}"
    return volume.changed(change, np.dtype(np.float32), how)


def _change(
    own: Intensities, learned: Intensities, volume: Volume, values: np.ndarray, window: Window
) -> np.ndarray:
    channels = window[0] if "c" in volume.axes else slice(None)
    own, learned = (replace(one, channels=one.channels[channels]) for one in (own, learned))
    return own.brought_to(learned, values, volume.ndim)

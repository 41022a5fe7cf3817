"""Images of the user's own that are drawn while a network trains."""

import numpy as np

from shallow2deep.errors import InputError
from shallow2deep.inference.moments import Moments
from shallow2deep.inputs.maps import as_shares
from shallow2deep.inputs.names import plain_name
from shallow2deep.io.known import Known
from shallow2deep.io.volumes import Volume, open_volumes
from shallow2deep.networks.model import ModelSpec
from shallow2deep.settings import OptimisationSettings


def open_previews(settings: OptimisationSettings, spec: ModelSpec) -> dict[str, np.ndarray]:
    """The images by name, float32 `(C, *spatial)`, as the network of `spec` takes them.

    An enhancer takes maps of one class, or of background and one class; other networks take raw.

    Raises:
        InputError: images that cannot be read, or that the network does not take.
    """
    volumes = open_volumes(settings.previews) if settings.previews else []
    if spec.kind == "enhancer" and volumes:
        volumes = as_shares(volumes, Known())
    return {f"{number}_{plain_name(v)}": _seen(v, spec) for number, v in enumerate(volumes)}


def _seen(volume: Volume, spec: ModelSpec) -> np.ndarray:
    image = np.asarray(volume.read(), np.float32)
    channels = image[None] if image.ndim == spec.ndim else image
    if spec.kind == "enhancer" and len(channels) == 2:
        channels = channels[1:]
    if channels.ndim != spec.ndim + 1 or len(channels) != spec.in_channels:
        raise InputError(
            f"{volume.name}: a preview of shape {image.shape} came, but the {spec.kind} takes "
            f"{spec.in_channels} channel{'s' * (spec.in_channels > 1)} of {spec.ndim} axes; give such images"
        )
    if spec.kind == "enhancer":
        return channels
    moments = Moments.of(image) if spec.normalisation is None else Moments(*spec.normalisation)
    return moments.standardised(channels).astype(np.float32)

"""`s2d network`: which sizes a network takes, how far it sees, and how much memory that needs."""

from collections.abc import Sequence
from pathlib import Path

from shallow2deep.errors import InputError
from shallow2deep.exports.packages import read_package
from shallow2deep.inference.network_maps import BLOCK
from shallow2deep.inputs.models import find_enhancer, is_package
from shallow2deep.inputs.shapes import NETWORK_VOXELS, typical_patch
from shallow2deep.inputs.source import enhancer_of, fitted
from shallow2deep.networks.model import ModelSpec, load_spec
from shallow2deep.networks.own import trust_files
from shallow2deep.networks.sizes import NetworkSizes
from shallow2deep.networks.unet import kernels_of
from shallow2deep.settings import EnhancerTrainConfig, OptimisationSettings, read_yaml, validated

_TYPICAL = {2: 256**2, 3: NETWORK_VOXELS}  # pixels of a training patch
_YAML = (".yaml", ".yml")


def describe_network(
    name: str | Path, patch: Sequence[int] | None = None, batch: int | None = None
) -> list[list[str]]:
    """What is to be known of a network before it is trained or applied.

    Args:
        name: settings of enhancer-train, for the enhancer that they would make; a folder with a trained
            network; or an enhancer by its name, package or run.
        patch: of training, pixels per axis; as in the settings, or a typical one, if not given.
        batch: patches at a time, likewise.

    Returns:
        Rows: what, and how much, per axis in pixels.

    Raises:
        InputError: no network there, one of another program, or a patch that it does not take.
    """
    spec, usual_patch, usual_batch = _opened(Path(name))
    sizes, patch, batch = NetworkSizes.of(spec), tuple(patch or usual_patch), batch or usual_batch
    if len(patch) != spec.ndim:
        raise InputError(f"a patch of {len(patch)} axes came, but this network sees {spec.ndim}")
    if sizes.valid_sizes(patch) != patch:
        raise InputError(
            f"patches of {_by(patch)} do not divide by {_by(sizes.step)}, as this network needs; give "
            f"{_by(sizes.valid_sizes(patch))}"
        )
    block = (BLOCK[spec.ndim],) * spec.ndim
    trained = f"{_size(sizes.training_bytes(patch, batch))}, {batch} patches of {_by(patch)}"
    read = [n + 2 * halo for n, halo in zip(sizes.valid_sizes(block), sizes.halo, strict=True)]
    return [
        ["network:", f"{spec.layers.in_words} in {spec.ndim}D, {sizes.parameters:,} weights, {_made(spec)}"],
        *_levels(spec, sizes, patch),
        ["inputs:", f"multiples of {_by(sizes.step)} pixels"],
        ["receptive field:", f"{_by(sizes.receptive_field)} pixels{_in_nm(sizes.receptive_field, spec)}"],
        ["borders:", f"without surroundings, the outer {_by(sizes.border)} pixels depend on the padding"],
        ["blocks:", f"{_by(block)} pixels at a time are read as {_by(read)}, {_joined(spec)}"],
        ["memory, training:", f"about {trained}"],
        ["memory, applied:", f"about {_size(sizes.prediction_bytes(block))} for a block"],
    ]


def _opened(name: Path) -> tuple[ModelSpec, tuple[int, ...], int]:
    """A network's description, and the usual patch and batch of its training."""
    if name.suffix.lower() in _YAML:
        config = validated(EnhancerTrainConfig, read_yaml(name), str(name))
        trust_files(*config.networks)
        config = fitted(config)
        return enhancer_of(config), config.enhancer.patch, config.enhancer.batch
    place = name if (name / "model.json").is_file() else find_enhancer(name)
    if is_package(place):
        package = read_package(place)
        if package.model is None:
            raise InputError(
                f"{name} is a network of another program, of which only its files know the sizes"
            )
        spec = package.model
    else:
        spec = load_spec(place)
    shape = spec.voxel_size if spec.ndim == 3 else None
    patch = typical_patch(shape, spec.step, _TYPICAL[spec.ndim])
    return spec, patch, OptimisationSettings().batch if spec.ndim == 2 else 2


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _made(spec: ModelSpec) -> str:
    """The poolings, and of what else it is made other than by default."""
    layers = spec.layers.arguments
    said = [
        f"{name} {layers[name]}" for name in ("norm", "activation", "dropout", "squeeze") if name in layers
    ]
    return ", ".join([f"poolings {_poolings(spec)}", *said])


def _levels(spec: ModelSpec, sizes: NetworkSizes, patch: Sequence[int]) -> list[list[str]]:
    if spec.layers.own:
        return []
    kernels = kernels_of(spec.strides, spec.ndim)
    return [
        [
            f"  level {level}:",
            f"{channels} channels, convolutions {'x'.join(map(str, kernel))}, {_by(pixels)} pixels of a "
            f"patch, {weights:,} weights",
        ]
        for level, (kernel, (channels, pixels, weights)) in enumerate(
            zip(kernels, sizes.levels(patch), strict=True), 1
        )
    ]


def _joined(spec: ModelSpec) -> str:
    if spec.layers.is_local:
        return "so that they do not"
    return "but results depend on the block: its layers see statistics of all of it"


def _poolings(spec: ModelSpec) -> str:
    return ", ".join("x".join(map(str, stride)) for stride in spec.strides) or "none"


def _in_nm(sizes: Sequence[int], spec: ModelSpec) -> str:
    if spec.voxel_size is None:
        return ""
    lengths = [round(n * nm) for n, nm in zip(sizes, spec.voxel_size[-spec.ndim :], strict=True)]
    return f", {_by(lengths)} nm"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count > 1e9 else f"{count / 1e6:.0f} MB"

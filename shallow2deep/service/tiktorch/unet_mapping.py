"""pytorch-3dunet's training YAML as settings of `s2d train`."""

from collections.abc import Mapping
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

from shallow2deep.errors import SettingsError
from shallow2deep.inference.windows import Windows
from shallow2deep.io.formats import open_stored
from shallow2deep.io.volumes import members
from shallow2deep.outputs import BOUNDARY, FOREGROUND
from shallow2deep.service.tiktorch.unet_config import (
    BlobsToMask,
    LabelTransform,
    Part,
    RawTransform,
    Scheduler,
    StandardLabelToBoundary,
    UNetConfig,
)

_KINDS = {"UNet": "unet", "ResidualUNet": "residual", "ResidualUNetSE": "residual-se"}
_ACTIVATIONS = {"r": "relu", "l": "leaky_relu", "e": "elu"}
_NORMS = {"g": "group", "b": "batch"}
_CHANGES = {  # to the setting of ours, and how often it is made if the YAML does not say
    "RandomRotate": ("elastic", 1.0),
    "ElasticDeformation": ("elastic", 0.1),
    "RandomContrast": ("temperature", 0.1),
    "AdditiveGaussianNoise": ("noise", 0.1),
    "AdditivePoissonNoise": ("noise", 0.1),
    "GaussianBlur3D": ("blur", 0.5),
}
_NORMALISE = {"Standardize", "Normalize", "PercentileNormalizer", "ToTensor"}
_ALL_CHANGES = ("elastic", "temperature", "noise", "blur", "invert", "dropout")
_HDF5 = "*.h5"


def settings_of(config: UNetConfig, root: Path) -> dict[str, Any]:
    """As in a file of settings of `s2d train`.

    Args:
        root: the folder that relative names of files start from.

    Raises:
        SettingsError: values that do not fit each other, or that cannot be had here.
        InputError: files that cannot be read.
    """
    ndim = 2 if config.model.name.endswith("2D") else 3
    outputs, values = _targets(config.loaders.train.transformer.label)
    if _targets(config.loaders.val.transformer.label) != (outputs, values):
        raise SettingsError("loaders.val has other label transforms than loaders.train; give the same")
    if config.model.out_channels != len(outputs):
        raise SettingsError(
            f"model.out_channels is {config.model.out_channels}, but the label transforms make "
            f"{len(outputs)}; give that"
        )
    if moved := {one.name for one in config.loaders.val.transformer.raw} - _NORMALISE:
        raise SettingsError(
            f"loaders.val.transformer.raw has {min(moved)}, but validation is on unchanged raw"
        )
    labels = config.loaders.train.transformer.label
    ignored = {one.ignore_index for one in labels} | {config.loss.ignore_index}
    ignored -= {None}
    if len(ignored) > 1:
        raise SettingsError(f"ignore_index is {ignored} in several places; give one value")
    parts = {
        name: _source(part, config, root)
        | {"label_values": values, "ignore_label": next(iter(ignored), None)}
        for name, part in (("train", config.loaders.train), ("val", config.loaders.val))
    }
    steps = _steps(config, parts["train"])
    return {
        "seed": config.manual_seed,
        "name": config.model.name,
        "ndim": ndim,
        "sources": [parts["train"]],
        "validation_sources": [parts["val"]],
        "outputs": outputs,
        "labelled_net": {
            "network": _network(config, ndim),
            "augment": _augment(config.loaders.train.transformer.raw),
            "patch": _patch(config.loaders.train, ndim),
            "batch": config.loaders.batch_size,
            "steps": steps,
            "validate_every": min(config.trainer.validate_after_iters, steps),
            "patience": steps,  # nothing ends the training early
            "workers": config.loaders.num_workers,
            "precision": "float32",
            **_optimiser(config),
            **_loss(config),
            **_schedule(config, steps),
        },
        "package": config.package.model_dump(mode="json", exclude_unset=True),
    }


def _targets(transforms: tuple[LabelTransform, ...]) -> tuple[list[str], str]:
    """The outputs that label transforms make, and whether values of labels are instances or classes."""
    makes = [one for one in transforms if isinstance(one, BlobsToMask | StandardLabelToBoundary)]
    if len(makes) > 1:
        raise SettingsError(f"{' and '.join(one.name for one in makes)} were given for labels; give one")
    if not makes:
        return [FOREGROUND], "classes"
    if isinstance(makes[0], BlobsToMask):
        return [FOREGROUND], "instances"
    return [*([FOREGROUND] if makes[0].foreground else []), BOUNDARY], "instances"


def _source(part: Part, config: UNetConfig, root: Path) -> dict[str, Any]:
    """The files of a part; an array of four axes has channels first."""
    files = [root / name for name in part.file_paths]
    plain = [str(path / _HDF5 if path.is_dir() else path) for path in files]
    loaders = config.loaders
    names = {
        "raw": [f"{name}:{loaders.raw_internal_path}" for name in plain],
        "labels": [f"{name}:{loaders.label_internal_path}" for name in plain],
    }
    shape = open_stored(members(names["raw"][0])[0]).shape
    axes = {2: "yx", 3: "zyx", 4: "czyx"}.get(len(shape), "")
    if not axes or (len(shape) == 4 and shape[0] != 1):
        raise SettingsError(
            f"{names['raw'][0]} has shape {shape}; DHW, or CDHW with one channel was expected"
        )
    return {**names, "axes": axes, "label_axes": axes.removeprefix("c")}


def _patch(part: Part, ndim: int) -> list[int]:
    patch = part.slice_builder.patch_shape
    if ndim == 2 and patch[0] != 1:
        raise SettingsError(f"patch_shape is {list(patch)}, but a network in 2D sees planes; give [1, y, x]")
    return list(patch[-ndim:])


def _steps(config: UNetConfig, source: Mapping[str, Any]) -> int:
    """As many as `max_num_iterations` and `max_num_epochs` allow."""
    builder = config.loaders.train.slice_builder
    patches = 0
    for name in (member for one in source["raw"] for member in members(one)):
        shape = (1, 1, *open_stored(name).shape)[-3:]
        size = tuple(min(n, m) for n, m in zip(shape, builder.patch_shape, strict=True))
        step = tuple(min(n, m) for n, m in zip(size, builder.stride_shape, strict=True))
        patches += len(Windows(shape, size, step))
    epoch = ceil(patches / config.loaders.batch_size)
    return min(config.trainer.max_num_iterations, config.trainer.max_num_epochs * epoch)


def _network(config: UNetConfig, ndim: int) -> dict[str, Any]:
    model = config.model
    kind = _KINDS[model.name[:-2]]
    first, levels = model.f_maps, model.num_levels or (4 if kind == "unet" else 5)
    if isinstance(model.f_maps, tuple):
        widths = model.f_maps
        if any(b != 2 * a for a, b in pairwise(widths)) or len(widths) < 2:
            raise SettingsError(
                f"model.f_maps is {list(widths)}; give widths that double from level to level"
            )
        first, levels = widths[0], len(widths)
    norm, activation, dropping = _layers(model.layer_order)
    return {
        "kind": kind,
        "features": first,
        "strides": [[2] * ndim] * (levels - 1),
        "stem": 1,
        "norm": norm,
        "activation": activation,
        **({"dropout": [model.dropout_prob]} if dropping else {}),
        **({"squeeze": "both"} if kind == "residual-se" else {}),
    }


def _layers(order: str) -> tuple[str, str, bool]:
    """Normalisation, activation and whether there is dropout; of what order they are is not kept."""
    norms, activations = [c for c in order if c in _NORMS], [c for c in order if c in _ACTIVATIONS]
    if order.count("c") != 1 or len(norms) > 1 or len(activations) != 1:
        raise SettingsError(
            f'model.layer_order is "{order}"; give one c, one of r, l and e, at most one of g and b'
        )
    return (_NORMS[norms[0]] if norms else "none"), _ACTIVATIONS[activations[0]], "d" in order.lower()


def _augment(transforms: tuple[RawTransform, ...]) -> dict[str, Any]:
    """What is not named is not made; how strong a change is follows from our own settings."""
    names = {one.name for one in transforms}
    found: dict[str, Any] = dict.fromkeys(_ALL_CHANGES, 0.0) | {"zoom": [1.0, 1.0], "rotation": 0.0}
    found |= {"flips": "zyx" if "RandomFlip" in names else "", "turns": "RandomRotate90" in names}
    for one in transforms:
        if one.name == "RandomRotate":
            found["rotation"] = one.angle_spectrum
        if one.name in _CHANGES:
            setting, usual = _CHANGES[one.name]
            stated = one.execution_probability
            found[setting] = max(found[setting], usual if stated is None else stated)
    return found


def _optimiser(config: UNetConfig) -> dict[str, Any]:
    optimizer = config.optimizer
    shared = {"learning_rate": optimizer.learning_rate, "weight_decay": optimizer.weight_decay}
    name = optimizer.name.lower()
    more = {"momentum": optimizer.momentum} if name in ("sgd", "rmsprop") else {"betas": optimizer.betas}
    return {"optimizer": name, **shared, **more}


def _loss(config: UNetConfig) -> dict[str, Any]:
    loss = config.loss
    terms: dict[str, Any] = {
        "BCEWithLogitsLoss": "bce",
        "DiceLoss": "dice",
        "BCEDiceLoss": {"bce": loss.alpha, "dice": loss.beta},
    }
    return {"loss": terms[loss.name], **({"foreground_weight": loss.pos_weight} if loss.pos_weight else {})}


def _schedule(config: UNetConfig, steps: int) -> dict[str, Any]:
    """Theirs take a step at each validation."""
    given, every = config.lr_scheduler, config.trainer.validate_after_iters
    if given is None:
        return {"schedule": "constant"}
    if given.name == "ReduceLROnPlateau":
        return {"schedule": "plateau", "plateau_factor": given.factor, "plateau_patience": given.patience}
    if given.name == "CosineAnnealingLR":
        if given.T_max is None or given.T_max * every != steps:
            raise SettingsError(
                f"lr_scheduler.T_max is {given.T_max}, of {every} iterations each, but there are {steps};"
                " give a T_max that ends with them"
            )
        return {"schedule": "cosine", "warm_up": 0}
    rate, marks = config.optimizer.learning_rate, _marks(given, range(1, (steps - 1) // every + 1))
    rates = [[mark * every, rate * given.gamma**number] for number, mark in enumerate(marks, 1)]
    return {"schedule": "steps", "rates": rates} if rates else {"schedule": "constant"}


def _marks(given: Scheduler, validations: range) -> list[int]:
    """The validations at which the rate is multiplied by gamma."""
    if given.name == "MultiStepLR":
        return sorted(mark for mark in given.milestones if mark in validations)
    if given.name == "ExponentialLR":
        return list(validations)
    if given.step_size is None:
        raise SettingsError("lr_scheduler.step_size is missing; state it")
    return [n for n in validations if n % given.step_size == 0]

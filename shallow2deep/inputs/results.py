"""The results of an adaptation, from forest to baselines: names, maps, and how they predict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from shallow2deep.errors import InputError
from shallow2deep.forests import Forest
from shallow2deep.inference.enhance import Enhancer, stretch_between
from shallow2deep.inference.enhancers import Enhancers
from shallow2deep.inference.forest_maps import ForestPredictor, forest_map_on_disk, learned_by
from shallow2deep.inference.intensity import Intensities
from shallow2deep.inference.network_maps import NetworkPredictor, predict_raw
from shallow2deep.inference.plans import (
    Plan,
    completed_steps,
    enhanced_steps,
    forest_steps,
    mixed_steps,
    raw_steps,
)
from shallow2deep.inference.windows import Overlap
from shallow2deep.inputs.images import Image
from shallow2deep.inputs.models import (
    ENHANCER,
    Given,
    OpenedEnhancer,
    given_enhancers,
    kept_classes,
)
from shallow2deep.inputs.shapes import planes_of
from shallow2deep.io.disk_map import DiskMap, Map, complete_map
from shallow2deep.io.map_files import read_map, write_complete
from shallow2deep.networks.model import WITH_RAW, ModelSpec, load_model
from shallow2deep.outputs import BACKGROUND, Output, completed, foreground, of_forest, picked
from shallow2deep.progress import Watch
from shallow2deep.runs.parallel import threads_each
from shallow2deep.settings import AdaptConfig, EnhancedSettings

FOREST, ENHANCED, SOURCE_NET, STROKES_NET, SUPERVISED = (
    "target_forest",
    "enhanced",
    "source_net",
    "strokes_net",
    "supervised",
)
SOURCE_MODEL = "source_model"  # the folder of a run's own copy of a source net
SKIPPED = "skipped.json"  # in the folder of a round that was not needed


def candidate_names(config: AdaptConfig) -> list[str]:
    """The names of the candidates' stages, simplest first."""
    names = [FOREST, ENHANCED]
    if config.segmentor is not None:
        names += [
            segmentor_name(variant, number)
            for variant in config.segmentor.variants
            for number in range(1, config.segmentor.rounds + 1)
        ]
    asked = {
        SOURCE_NET: config.compare.source_net,
        STROKES_NET: config.compare.strokes_net,
        SUPERVISED: config.compare.supervised,
    }
    return names + [name for name, wanted in asked.items() if wanted]


def segmentor_name(variant: str, number: int = 1) -> str:
    return f"segmentor-{variant}" if number == 1 else f"segmentor-{variant}-{number}"


def made(run: Path, names: Sequence[str]) -> list[str]:
    """Those of the candidates that were not skipped."""
    return [name for name in names if not (run / name / SKIPPED).exists()]


def map_path(folder: Path, image: Image) -> Path:
    """Where a stage puts its map of an image."""
    return folder / f"{image.name}.h5"


def save_map(
    folder: Path, image: Image, probabilities: Map, outputs: Sequence[Output], background: str
) -> None:
    """Writes a stage's map of an image, with the background of that name."""
    write_complete(map_path(folder, image), probabilities, outputs, background, image.voxel_size)


def foreground_maps(folder: Path, image: Image) -> list[np.ndarray]:
    """A stage's maps of the foreground classes, float32 `(C - 1, *spatial)` for each part of an image."""
    p, outputs = read_map(map_path(folder, image))
    return [foreground(part, outputs) for part in image.split(p)]


@dataclass(frozen=True)
class ImagePredictor:
    """How a result predicts images.

    Attributes:
        apply: from raw `([C,] *spatial)` to `(K, *spatial)`, which memory need not hold.
        outputs: what the K channels tell.
        ndim: spatial axes of what it is applied to; 3 where networks or the forest's features are 3D.
        learned: the range of raw that it has learned on; None if it is not known, or does not matter.
        background: the name of the class that all others stand out from.
        plan: the same as steps on blocks, with nothing whole in memory; None where it cannot be done so.
    """

    apply: Callable[[np.ndarray], Map]
    outputs: tuple[Output, ...]
    ndim: int = 2
    learned: Intensities | None = None
    background: str = BACKGROUND
    plan: Plan | None = None

    def foreground(self, raw: np.ndarray) -> np.ndarray:
        """The foreground classes' channels alone."""
        return foreground(np.asarray(self.apply(raw)), self.outputs)


def image_predictor(
    run: Path,
    name: str,
    config: AdaptConfig,
    device: torch.device,
    enhancers: Sequence[OpenedEnhancer],
    watch: Watch | None = None,
    overlap: Overlap | None = None,
) -> ImagePredictor:
    """How a result whose stage is finished predicts.

    Args:
        enhancers: the run's own.
        watch: is told how many of a large image's blocks are done.
        overlap: of windows in place of blocks.

    Raises:
        InputError: its forest was not there, as maps made elsewhere took its place.
    """
    if name not in (FOREST, ENHANCED):
        network, spec = load_model(run / (SOURCE_MODEL if name == SOURCE_NET else name))
        return network_predictor(network, spec, device, watch, overlap, config.classes[0])
    if config.target.probabilities:
        raise InputError(
            f"{run}: the maps of its images were made elsewhere, so there is no forest for others; "
            "make their maps there, too, and give them to adapt as probabilities"
        )
    forest = Forest.load(run / FOREST / "forest.npz")
    learned = learned_by(forest)
    to_map = partial(
        forest_map_on_disk,
        forest,
        device=str(device),
        engine=config.engine,
        threads=threads_each(config.jobs),
        watch=watch,
        overlap=overlap,
    )
    to_steps = partial(forest_steps, ForestPredictor(forest, str(device), config.engine))
    ndim, background = forest.spec.ndim, config.classes[0]
    if name == FOREST:
        return ImagePredictor(to_map, of_forest(config.classes), ndim, learned, background, to_steps)
    size = forest.record.get("voxel_size")
    applied = applied_enhancers(config, enhancers, size, device, watch, overlap, run)
    apply = partial(_enhanced_map, to_map, applied)
    plan = partial(enhanced_steps, to_steps, applied) if applied.ndim == ndim else None
    return _completing(apply, applied.outputs(config.classes), ndim, learned, background, plan)


def mixed_predictor(parts: Mapping[str, ImagePredictor]) -> ImagePredictor:
    """Each class as the result that was chosen for it predicts it.

    Args:
        parts: by the name of the class; a result that is there several times is applied once.
    """
    distinct = list({id(part): part for part in parts.values()}.values())
    ndim = max(part.ndim for part in distinct)

    def apply(raw: np.ndarray) -> np.ndarray:
        maps = {id(part): _applied(part, raw, ndim) for part in distinct}
        return picked({name: (maps[id(part)], part.outputs) for name, part in parts.items()})[0]

    none = {name: (np.empty((len(part.outputs), 0)), part.outputs) for name, part in parts.items()}
    learned = next((part.learned for part in distinct if part.learned is not None), None)
    plans = {name: (p.plan, p.outputs) for name, p in parts.items() if p.plan is not None and p.ndim == ndim}
    plan = partial(mixed_steps, plans) if len(plans) == len(parts) else None
    return ImagePredictor(apply, picked(none)[1], ndim, learned, distinct[0].background, plan)


def _applied(part: ImagePredictor, raw: np.ndarray, ndim: int) -> np.ndarray:
    """A result's map of raw of `ndim` spatial axes; plane by plane if the result knows planes alone."""
    if part.ndim == ndim:
        return np.asarray(part.apply(raw))
    return np.stack([np.asarray(part.apply(plane)) for plane in np.moveaxis(raw, -3, 0)], 1)


def applied_enhancers(
    config: AdaptConfig,
    enhancers: Sequence[OpenedEnhancer],
    voxel_size: Sequence[float] | None,
    device: torch.device,
    watch: Watch | None = None,
    overlap: Overlap | None = None,
    run: Path | None = None,
) -> Enhancers:
    """Enhancers, in the order of `given_enhancers`, each applied to the classes that it is for.

    Args:
        voxel_size: of the images that the forest knows, if it is known.
        run: whose companions know the target's images; those that were learned if not given.
    """
    planes = planes_of(config.enhanced.planes, voxel_size) if config.ndim == 3 else "z"
    found = []
    for given, one in zip(given_enhancers(config), enhancers, strict=True):
        kept = kept_classes(config, one.spec, given)
        companion = one.companion if config.enhanced.raw else None
        if companion is not None and run is not None and own_companion(run, given).is_dir():
            companion, _ = load_model(own_companion(run, given))
        settings = _at_own_pixel_size(config.enhanced, one.spec)
        outputs, stretch = one.spec.outputs, stretch_between(voxel_size, one.spec.voxel_size)
        applied = Enhancer(
            one.network, outputs, settings, device, kept, watch, companion, planes, stretch, overlap
        )
        found.append(applied)
    return Enhancers(tuple(found))


def own_companion(run: Path, given: Given) -> Path:
    """Where a run keeps an enhancer's companion that knows the target's images."""
    return run / ENHANCED / given.stage.replace(ENHANCER, WITH_RAW)


def _at_own_pixel_size(settings: EnhancedSettings, spec: ModelSpec) -> EnhancedSettings:
    """With scales that bring maps to the pixel size that an enhancer learned at, if that is asked for."""
    if settings.pixel_size is None:
        return settings
    assert spec.voxel_size is not None and settings.pixel_size != "file", "checked with the target"
    factor = settings.pixel_size / spec.voxel_size[-1]
    return settings.model_copy(update={"scales": tuple(scale * factor for scale in settings.scales)})


def untouched_classes(config: AdaptConfig, enhancers: Sequence[OpenedEnhancer]) -> frozenset[int]:
    """The numbers of the classes, from 1, that no enhancer is applied to."""
    pairs = zip(given_enhancers(config), enhancers, strict=True)
    return frozenset.intersection(*(kept_classes(config, one.spec, given) for given, one in pairs))


def network_predictor(
    network: nn.Module,
    spec: ModelSpec,
    device: torch.device,
    watch: Watch | None = None,
    overlap: Overlap | None = None,
    background: str = BACKGROUND,
) -> ImagePredictor:
    """How a segmentor predicts, or a source net, which brings each image to its own mean and deviation."""
    learned = Intensities.from_dict(spec.record.get("raw"))
    apply = partial(predict_raw, network, spec, device=device, watch=watch, overlap=overlap)
    plan = partial(raw_steps, NetworkPredictor(network, spec.outputs, device), spec)
    return _completing(apply, spec.outputs, spec.ndim, learned, background, plan)


def _completing(
    apply: Callable[[np.ndarray], Map],
    outputs: Sequence[Output],
    ndim: int,
    learned: Intensities | None,
    background: str,
    plan: Plan | None,
) -> ImagePredictor:
    """One whose maps have a background, as all that are written."""

    def whole(raw: np.ndarray) -> Map:
        return complete_map(apply(raw), outputs)

    steps = plan and partial(completed_steps, plan, tuple(outputs))
    return ImagePredictor(whole, completed(outputs, background), ndim, learned, background, steps)


def _enhanced_map(to_map: Callable[[np.ndarray], DiskMap], enhancer: Enhancers, raw: np.ndarray) -> Map:
    p = to_map(raw)
    if enhancer.ndim is not None and p.ndim == enhancer.ndim + 1:
        return enhancer.enhance_on_disk([p.channel(n) for n in range(p.shape[0])], raw)
    return enhancer.enhance(np.asarray(p), raw)  # a volume by its planes: a forest in 3D needs it whole, too

"""The settings: one frozen model per stage; unknown keys are refused with the nearest known one."""

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from shallow2deep.errors import SettingsError


class Settings(BaseModel):
    """Base of all settings: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str | Path) else value


def _number_if_digits(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _rising(value: tuple[Any, Any]) -> tuple[Any, Any]:
    if not 0 < value[0] <= value[1] < math.inf:
        raise ValueError("two numbers above 0 were expected, the smaller one first")
    return value


def _different(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("each name may come once only")
    return value


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("a number of jobs, or -1 for one per core, was expected")
    return value


C = TypeVar("C", bound=Settings)
Names = Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]
NamesOrNone = Annotated[tuple[str, ...], BeforeValidator(_several)]
Range = Annotated[tuple[int, int], AfterValidator(_rising)]
NameOrNumber = Annotated[str | int, BeforeValidator(_number_if_digits)]
Classes = Annotated[tuple[str, ...], Field(min_length=2, max_length=255), AfterValidator(_different)]
Engine = Literal["numba", "fastfilters"]
Jobs = Annotated[int, AfterValidator(_not_zero)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Manifest(Settings):
    """A CSV table that selects images: those whose file name starts with the `stem` of a row that fits."""

    file: str
    where: dict[str, str] = {}


class RawData(Settings):
    """Raw images, by name: `file.h5:key`, `file.zarr:key`, `file.tif`, `file.npy`, `folder/*.png`."""

    raw: Names
    axes: str | None = Field(None, description="axes of the raw files, e.g. zyx; inferred if not given")
    voxel_size: tuple[float, ...] | None = Field(None, description="nm per spatial axis, e.g. [50, 4.6, 4.6]")
    slices: str | tuple[int, ...] | None = Field(
        None, description='z planes to use, e.g. "0:16" or [0, 7, 14]; all if not given'
    )
    manifest: Manifest | None = None
    licence: str = Field("not stated", description="terms of the data; they go with everything trained on it")


class SourceData(RawData):
    """Raw images with dense labels, matched in order."""

    labels: Names
    label_axes: str | None = None
    label_values: Literal["instances", "classes"] = Field(
        "instances", description="instances: every value > 0 is the one foreground class; classes: 0, 1, 2 …"
    )


class TargetData(RawData):
    """Raw images with strokes, matched in order; or an ilastik project, which has both."""

    raw: NamesOrNone = ()
    strokes: NamesOrNone = ()
    stroke_axes: str | None = None
    labels: Names | None = Field(
        None, description="dense labels of the same images, only for compare.supervised and scores"
    )
    stroke_classes: dict[int, int] | None = Field(
        None, description="value in the stroke files -> number of the class, from 1; default {1: 1, 2: 2, …}"
    )
    channels: Literal["grey", "each"] = Field(
        "grey", description="colour as grey, or the features of each channel, as in ilastik projects"
    )
    ilp: str | None = Field(
        None, description="ilastik project with strokes, label names, features and, unless given, raw"
    )
    background: NameOrNumber | None = Field(
        None, description="name or number of the project's label that is background; the first if not given"
    )
    probabilities: NamesOrNone = Field((), description="maps that take the place of the target forest's")
    channel: NameOrNumber | None = Field(
        None, description="name or number, from 0, of the maps' channel; needed if they have several"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.ilp is None and not self.raw:
            raise ValueError("raw images are missing; give raw, or an ilastik project as ilp")
        if self.ilp is None and not self.strokes and not self.probabilities:
            raise ValueError("strokes are missing; give strokes, an ilastik project as ilp, or probabilities")
        if self.ilp is not None and self.strokes:
            raise ValueError("strokes and an ilastik project came, which has its own; give one of them")
        unused: dict[str, Any] = {
            "slices": self.slices,
            "axes": self.axes,
            "manifest": self.manifest,
            "voxel_size": self.voxel_size,
        }
        unused |= {"stroke_classes": self.stroke_classes, "stroke_axes": self.stroke_axes}
        given = [name for name, value in unused.items() if value is not None]
        if self.ilp is not None and given:
            raise ValueError(f"{given[0]} has no meaning beside an ilastik project; leave it out")
        if self.ilp is None and self.background is not None:
            raise ValueError("background names a label of an ilastik project, but none came; give ilp")
        if self.channel is not None and not self.probabilities:
            raise ValueError("channel is that of probabilities, but none came; give probabilities")
        return self


class FeatureSettings(Settings):
    """The filter bank, in ilastik's terms."""

    scales: tuple[float, ...] = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
    filters: tuple[str, ...] | None = Field(None, description="ilastik's filter names; all six if not given")
    offset: float = Field(0.0, description="filters see (raw - offset) / scale")
    scale: float = Field(1.0, gt=0)


class TreeSettings(Settings):
    """How a forest is grown."""

    n_trees: Positive = 40
    max_depth: Positive | None = 10
    min_samples_leaf: Positive = 5
    max_samples: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the labelled pixels that each tree is grown on; all if not given"
    )
    random_thresholds: bool = Field(False, description="extremely randomised trees")
    brightness: Annotated[float, Field(ge=0)] = Field(
        0.0, description="strokes are also learned on images this much darker and brighter, in deviations"
    )


class StrokeSettings(Settings):
    """What simulated strokes look like; every pair is a range from which each forest draws its own value."""

    images: Range = Field((1, 3), description="images, or planes of a volume, that are painted on")
    view: Positive = Field(1024, description="side of the part of an image that is painted on, pixels")
    count: Range = Field((1, 12), description="strokes per class and image, log-uniform")
    imbalance: float = Field(3.0, ge=1, description="the classes' counts differ by up to this factor")
    length: Range = Field((15, 90), description="pixels")
    width: Range = Field((1, 5), description="pixels")


class ForestsSettings(Settings):
    """The source forests."""

    count: Positive = Field(64, description="forests for training")
    validation_count: Positive = Field(8, description="further forests, for validation alone")
    strategies: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        {"simulated_strokes": 1.0}, description="sampling strategies and their shares of the forests"
    )
    stage_size: Positive = Field(
        16, description="staged strategies: forest i goes on from forest i - stage_size"
    )
    trees: Range = Field((30, 120), description="trees per forest, drawn log-uniformly")
    depths: tuple[Positive | None, ...] = Field(
        (None, None, 12, 8), min_length=1, description="maximal depth, drawn from these"
    )
    min_samples_leaf: Positive = 5
    max_samples: Annotated[float, Field(gt=0, le=1)] | None = Field(
        0.3, description="share of a sample that each tree is grown on"
    )
    patch: tuple[Positive, ...] = Field((256, 256), description="region that patch strategies sample from")
    points: Positive = Field(2000, description="pixels per class that point strategies take")
    fraction: Fraction = Field(0.1, description="share of a patch that staged strategies add")
    strokes: StrokeSettings = StrokeSettings()
    noise: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0,),
        min_length=1,
        description="noise added to raw, in deviations of the image; each forest sees one of these levels",
    )


class ProbabilitiesSettings(Settings):
    """The pool of probability maps that the enhancer is trained on."""

    patches: Positive = 160
    validation_patches: Positive = 24
    patch: tuple[Positive, ...] = (512, 512)
    forests_per_patch: Positive = 6
    max_gigabytes: float = Field(4.0, gt=0, description="the pool is refused if it would get larger")


class NetworkSettings(Settings):
    """A U-Net."""

    features: Positive = Field(
        24, le=1024, description="channels at the first level; doubled at each level below"
    )
    depth: Positive = Field(4, le=8, description="number of poolings")
    stem: Literal[1, 2, 4] = Field(
        2, description="the first convolution reduces the resolution by this factor"
    )


class AugmentSettings(Settings):
    """Changes to a training sample; each probability is that of the change being made at all."""

    elastic: Fraction = 0.5
    zoom: Annotated[tuple[float, float], AfterValidator(_rising)] = (0.75, 1.33)
    temperature: Fraction = Field(0.8, description="contrast and offset of the log-odds")
    noise: Fraction = 0.4
    blur: Fraction = 0.3
    dropout: Fraction = Field(0.3, description="regions replaced by a constant")


class OptimisationSettings(Settings):
    """How a network is made and its weights are found."""

    network: NetworkSettings = NetworkSettings()
    augment: AugmentSettings = AugmentSettings()
    patch: tuple[Positive, ...] = (256, 256)
    batch: Positive = 8
    steps: Positive = 2500
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    checkpoint_every: Positive = 250
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the processor computes in it"
    )
    workers: int = Field(
        1, ge=0, description="processes that prepare samples; the result is the same for any"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 …")


class TrainingSettings(OptimisationSettings):
    """The training of one network on true labels."""

    loss: Literal["dice", "bce", "dice+bce"] = "dice+bce"
    schedule: Literal["cosine", "plateau"] = "cosine"
    validate_every: Positive = 250
    patience: Positive = Field(8, description="validations without a better score after which training ends")


class AuthorSettings(Settings):
    """Someone who made a model."""

    name: str
    affiliation: str | None = None
    orcid: str | None = Field(None, description="as in 0000-0002-1825-0097")
    github_user: str | None = None


class CitationSettings(Settings):
    """What users of a model are to cite: a text with a DOI or a URL."""

    text: str
    doi: str | None = None
    url: str | None = None


_METHOD = CitationSettings(
    text="Matskevych et al. 2022, From Shallow to Deep, Frontiers in Computer Science 4",
    doi="10.3389/fcomp.2022.805166",
)


class PackageSettings(Settings):
    """What an exported package says of its model; only `s2d export` reads it."""

    title: str | None = Field(
        None, description="5 to 128 letters, digits, blanks and _+-(); the run's if not given"
    )
    description: str = "Made by shallow2deep."
    authors: tuple[AuthorSettings, ...] = Field((), description="at least one is needed to export")
    licence: str | None = Field(
        None, description="SPDX id such as CC-BY-4.0, or the terms in words; needed to export"
    )
    cite: tuple[CitationSettings, ...] = (_METHOD,)
    tags: tuple[str, ...] = ()
    git_repo: str | None = None
    validation: str = Field(
        "", description="Markdown: how well it does on which data; goes into the documentation"
    )


class EnhancerSettings(TrainingSettings):
    """The enhancer."""

    boundary: bool = Field(False, description="a second output: the boundaries of the labelled instances")


class EnhancerTrainConfig(Settings):
    """All settings of `s2d enhancer-train`."""

    seed: int = Field(0, ge=0)
    name: str = "enhancer"
    ndim: Literal[2, 3] = Field(2, description="2: planes are images of their own; 3: volumes")
    classes: Classes = ("background", "foreground")
    sources: tuple[SourceData, ...] = Field(min_length=1)
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="share of each source's images, the last ones, that is held out for validation"
    )
    features: FeatureSettings = FeatureSettings()
    forests: ForestsSettings = ForestsSettings()
    probabilities: ProbabilitiesSettings = ProbabilitiesSettings()
    enhancer: EnhancerSettings = EnhancerSettings()
    source_net: TrainingSettings | None = Field(
        None, description="also train the same network on the source's raw, as a baseline"
    )
    package: PackageSettings = PackageSettings()
    engine: Engine = Field("numba", description="what computes the filters; fastfilters if it is installed")
    jobs: Jobs = Field(-1, description="forests or images at the same time; -1: one per core")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        trained = {"enhancer": self.enhancer, "source_net": self.source_net}
        cuts = {f"{name}.patch": net.patch for name, net in trained.items() if net is not None}
        patches = {"forests.patch": self.forests.patch, "probabilities.patch": self.probabilities.patch}
        for name, patch in (patches | cuts).items():
            if len(patch) != self.ndim:
                raise ValueError(f"{name} has {len(patch)} axes but ndim is {self.ndim}")
        for name, cut in cuts.items():
            if any(a > b for a, b in zip(cut, self.probabilities.patch, strict=True)):
                raise ValueError(f"{name} is larger than probabilities.patch, from which it is cut")
        if self.ndim == 3:
            raise ValueError("ndim 3 is not trained yet: set ndim to 2, which uses volumes plane by plane")
        return self


Variant = Literal["plain", "consistency", "rectification", "both"]


class ConfidenceSettings(Settings):
    """How sure pseudo-labels are: whether several forests, each enhanced under flips, agree."""

    use: Literal["none", "weight", "mask"] = "weight"
    forests: Positive = Field(3, description="forests of the same strokes, grown from other seeds")
    flips: bool = Field(True, description="enhance also the flipped maps")
    threshold: Fraction = Field(0.5, description="mask: pixels less sure than this do not count")


class SegmentorSettings(OptimisationSettings):
    """The segmentor: a network for the target's raw, trained on pseudo-labels and strokes."""

    variants: Annotated[tuple[Variant, ...], AfterValidator(_different)] = Field(
        ("consistency",), min_length=1
    )
    steps: Positive = 600
    stroke_weight: float = Field(1.0, ge=0, description="of the loss under strokes, which are true labels")
    consistency_weight: float = Field(1.0, ge=0)
    consistency_noise: float = Field(0.1, ge=0, description="in deviations of raw")
    teacher_momentum: Fraction = 0.999
    rectification_momentum: Fraction = 0.9999
    alignment: float = Field(0.0, ge=0, description="weight of keeping the pseudo-labels' foreground share")
    confidence: ConfidenceSettings = ConfidenceSettings()
    rounds: Positive = Field(
        1, description="the segmentor's maps become the next pseudo-labels, while held-out strokes improve"
    )
    weights: str | None = Field(None, description="folder of a segmentor or source net to start from")


class CompareSettings(Settings):
    """Baselines beside the forest, the enhancer and the segmentor."""

    source_net: bool = Field(False, description="the source's network on raw, if its run trained one")
    strokes_net: bool = Field(False, description="the segmentor's network trained on the strokes alone")
    supervised: bool = Field(False, description="and on dense labels (target.labels): the upper bound")


class EnhancedSettings(Settings):
    """How the enhancer is applied."""

    block: tuple[Positive, ...] = (1024, 1024)
    scales: tuple[Annotated[float, Field(ge=0.1, le=10)], ...] = Field(
        (0.5, 0.7, 1.0, 1.4),
        min_length=1,
        description="maps are resized by each of these factors, and the results averaged, those more that "
        "agree with the forest; the four have 3.7 times the pixels of [1]",
    )
    device: str = "auto"


class AdaptConfig(Settings):
    """All settings of `s2d adapt`."""

    seed: int = Field(0, ge=0)
    ndim: Literal[2, 3] = 2
    classes: Classes = ("background", "foreground")
    target: TargetData
    enhancer: str = Field(
        description="run of enhancer-train, an enhancer's folder, a bioimage.io package, or a name that "
        "s2d models lists"
    )
    features: FeatureSettings | None = Field(None, description="those of the enhancer's forests if not given")
    forest: Literal["train", "ilp"] = Field(
        "train", description="train a forest on the strokes, or use the ilastik project's own"
    )
    target_forest: TreeSettings = TreeSettings()
    enhanced: EnhancedSettings = EnhancedSettings()
    segmentor: SegmentorSettings | None = Field(None, description="none is trained if not given")
    compare: CompareSettings = CompareSettings()
    held_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="share of each class's strokes that only judge the results; 0: all are learned"
    )
    package: PackageSettings = PackageSettings()
    engine: Engine = "numba"
    jobs: Jobs = -1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.enhanced.block) != self.ndim:
            raise ValueError(f"enhanced.block has {len(self.enhanced.block)} axes but ndim is {self.ndim}")
        if self.segmentor is not None and len(self.segmentor.patch) != self.ndim:
            raise ValueError(f"segmentor.patch has {len(self.segmentor.patch)} axes but ndim is {self.ndim}")
        if self.segmentor is not None and self.segmentor.rounds > 1 and self.held_out == 0:
            raise ValueError("segmentor.rounds above 1 end by held-out strokes; set held_out above 0")
        if self.forest == "ilp" and (self.target.ilp is None or self.target.probabilities):
            raise ValueError("forest: ilp takes the forest of target.ilp; give that, and no probabilities")
        if self.forest == "ilp" and self.features is not None:
            raise ValueError("the forest of an ilastik project has features of its own; leave out features")
        if self.compare.supervised and self.target.labels is None:
            raise ValueError("compare.supervised needs dense labels; give target.labels, or leave it out")
        return self


def _nearest(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The known key nearest to the unknown one at `location`, as half a sentence."""
    known: Iterable[str] = model.model_fields
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            nested = _models_in(model.model_fields[part].annotation)
            if nested:
                model, known = nested[0], nested[0].model_fields
    close = difflib.get_close_matches(str(location[-1]), known, 1, 0.5)
    return f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(known)}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _models_in(a)]


def validated(model: type[C], values: Mapping[str, Any], origin: str) -> C:
    """`values` as settings.

    Raises:
        SettingsError: naming the first wrong key, what came, and what to do.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the settings"
        if first["type"] == "extra_forbidden":
            raise SettingsError(
                f'{origin}: unknown setting "{where}"; {_nearest(model, first["loc"])}'
            ) from None
        if first["type"] == "missing":
            raise SettingsError(f'{origin}: the setting "{where}" is missing; state it') from None
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{origin}: {where}: {message}; got {first['input']!r:.80}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, with the names of data made absolute: they are relative to the file.

    Raises:
        SettingsError: the file is missing, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: cannot be read as settings: {reason}; give a YAML file") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: a mapping of settings was expected, not {type(values).__name__}")
    return absolute_names(values, path.resolve().parent)


_NAMES_OF_DATA = {"raw", "labels", "strokes", "file", "enhancer", "weights", "ilp", "probabilities"}


def absolute_names(values: Any, folder: Path, key: str = "") -> Any:
    """`values` with every relative name of data resolved against `folder`; an enhancer may be a mere name."""
    if isinstance(values, dict):
        return {k: absolute_names(v, folder, str(k)) for k, v in values.items()}
    if isinstance(values, list | tuple):
        return [absolute_names(v, folder, key) for v in values]
    if key in _NAMES_OF_DATA and isinstance(values, str):
        path = folder / os.path.expanduser(values)  # noqa: PTH111 - leaves an unknown user's ~ as it is
        by_name = key == "enhancer" and "/" not in values and not path.exists()  # one that comes along
        return values if by_name else str(path)
    return values


def with_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`values` with each `section.key=value` of `overrides` put in; values are read as YAML.

    Raises:
        SettingsError: an override without `=`, or into something that is no section.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise SettingsError(f'"{override}" was given to --set; section.key=value was expected')
        *sections, key = path.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsError(f'--set {override}: "{section}" is not a section of the settings')
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise SettingsError(f"--set {override}: {text} was not understood; give a YAML value") from None
        place[key] = absolute_names(value, Path.cwd(), key)
    return values


def dump_yaml(settings: Settings) -> str:
    """The resolved settings as YAML, in the order of the models."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

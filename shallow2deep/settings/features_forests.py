"""Filters, forests, and the pool of their maps."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shallow2deep.settings.base import ASIDE, Fraction, Positive, Range, Settings, rising


class FeatureSettings(Settings):
    """The filter bank, in ilastik's terms."""

    scales: tuple[float, ...] = (0.3, 0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
    filters: tuple[str, ...] | None = Field(None, description="ilastik's filter names; all six if not given")
    ndim: Literal[2, 3] | None = Field(
        None,
        description="of filters in volumes (ndim 3): 2, plane by plane; if not given, 3 where voxels are "
        "about cubes",
    )
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
    blur: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0,), min_length=1, description="Gaussian blur of raw, pixels; each forest sees one of these"
    )
    gamma: Annotated[float, Field(ge=0, le=2)] = Field(
        0.0, description="spread of the logarithm of the power that each forest's raw is raised to"
    )
    zoom: Annotated[tuple[float, float], AfterValidator(rising)] = Field(
        (1.0, 1.0), description="each forest sees raw resized by a factor between these"
    )
    exposure: Annotated[float, Field(ge=0, le=2)] = Field(
        0.0, description="spread of gain and offset between the images that a forest is applied to"
    )


class ProbabilitiesSettings(Settings):
    """The pool of probability maps that the enhancer is trained on."""

    patches: Positive = 160
    validation_patches: Positive = 24
    patch: tuple[Positive, ...] = (512, 512)
    forests_per_patch: Positive = 6
    max_gigabytes: float = Field(
        4.0, gt=0, description="the pool is refused if it would get larger", json_schema_extra=ASIDE
    )

"""Networks, their training, and how they are applied."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shallow2deep.settings.base import (
    ASIDE,
    FLAG,
    FLAGS,
    IF_SET,
    Fraction,
    NamesOrNone,
    Positive,
    Settings,
    different,
    rising,
)

Share = Annotated[float, Field(ge=0, lt=1)]


class NetworkSettings(Settings):
    """A U-Net or one of its kin."""

    kind: Literal["unet", "residual", "residual-se", "attention", "unet++"] = Field(
        "unet",
        description="unet; residual: a shortcut beside each pair of convolutions; residual-se: and squeeze "
        "and excitation; attention: gates in the skip connections; unet++: nested",
        json_schema_extra=IF_SET,
    )

    features: Positive = Field(
        24, le=1024, description="channels at the first level; doubled at each level below"
    )
    depth: Positive = Field(4, le=8, description="number of poolings")
    stem: Literal[1, 2, 4] = Field(
        2, description="the first convolution reduces the resolution by this factor; 1 in volumes"
    )
    strides: tuple[tuple[Literal[1, 2], ...], ...] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="of each pooling, along z, y and x, in place of depth; in volumes they follow from the "
        "voxel size if not given",
    )

    norm: Literal["batch", "group", "none"] = Field(
        "batch",
        description="normalisation behind convolutions; with group, results depend on the tile",
        json_schema_extra=IF_SET,
    )
    activation: Literal["relu", "leaky_relu", "elu", "silu", "gelu"] = Field("relu", json_schema_extra=IF_SET)
    dropout: tuple[Share, ...] = Field(
        (),
        max_length=9,
        description="share of channels dropped in training, for each level from the first; the last holds "
        "for those below",
        json_schema_extra=IF_SET,
    )
    squeeze: Literal["spatial", "channel", "both"] = Field(
        "spatial",
        description="of residual-se: what is weighed; with channel and both, results depend on the tile",
        json_schema_extra=IF_SET,
    )

    file: str | None = Field(
        None,
        description="FILE.py:CLASS of a network of your own in place of kind; see docs/training.md",
        json_schema_extra=ASIDE,  # its content decides
    )
    arguments: dict[str, Any] = Field({}, description="of that class", json_schema_extra=IF_SET)

    def problem(self, name: str, ndim: int) -> str | None:
        """What keeps it from working on images of `ndim` axes, if anything; `name` is this section's."""
        if any(len(stride) != ndim for stride in self.strides or ()):
            return f"{name}.strides are not of {ndim} axes each, but ndim is {ndim}"
        if ndim == 3 and self.stem != 1:
            return f"{name}.stem is {self.stem}, but networks in 3D have none; set it to 1"
        if self.file and self.kind != "unet":
            return f"{name}.file names a network of your own, and {name}.kind is {self.kind}; leave out one"
        if self.arguments and not self.file:
            return f"{name}.arguments are those of a class of your own; give {name}.file, or leave them out"
        return None


class AugmentSettings(Settings):
    """Changes to a training sample; each probability is that of the change being made at all."""

    flips: Annotated[str, Field(pattern="^[zyx]*$")] = Field(
        "zyx", description="axes along which samples are mirrored", json_schema_extra=IF_SET
    )
    turns: bool = Field(
        True, description="by quarters; false where up and down differ", json_schema_extra=IF_SET
    )
    elastic: Fraction = 0.5
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(
        180.0, description="of elastic: degrees at most", json_schema_extra=IF_SET
    )
    border: Literal["mirror", "constant", "reject"] = Field(
        "mirror",
        description="of elastic, where it reaches beyond a sample: mirror; constant: 0, and those pixels do "
        "not count; reject: that sample stays as it is",
        json_schema_extra=IF_SET,
    )
    zoom: Annotated[tuple[float, float], AfterValidator(rising)] = (0.75, 1.33)
    temperature: Fraction = Field(0.3, description="contrast and offset: of a map's log-odds, or of raw")
    invert: Fraction = Field(0.0, description="raw turned to its negative")
    per_channel: bool = Field(
        False,
        description="each raw channel's grey values are changed on their own",
        json_schema_extra=IF_SET,
    )
    noise: Fraction = 0.4
    blur: Fraction = 0.3
    dropout: Fraction = Field(0.3, description="regions replaced by a constant")


Schedule = Literal["cosine", "plateau", "exponential", "steps", "constant"]


class OptimisationSettings(Settings):
    """How a network is made and its weights are found."""

    network: NetworkSettings = NetworkSettings()
    weights: str | None = Field(
        None,
        description="run, package or folder of a trained network to start from: its layers of the same name "
        "and shape are taken, and what was not is said",
        json_schema_extra=ASIDE,  # their content decides
    )
    frozen: Annotated[tuple[str, ...], AfterValidator(different)] = Field(
        (),
        description="parts of the network that are not trained, as s2d network names them, such as stem, "
        "down, down.0",
        json_schema_extra=IF_SET,
    )
    augment: AugmentSettings = AugmentSettings()
    patch: tuple[Positive, ...] = (256, 256)
    batch: Positive = 8
    accumulate: Positive = Field(
        1,
        description="batches whose gradients make one step, where one is too large for the memory",
        json_schema_extra=IF_SET,
    )
    steps: Positive = 2500
    optimizer: Literal["adamw", "adam", "nadam", "radam", "rmsprop", "sgd"] = Field(
        "adamw", description="of torch.optim", json_schema_extra=IF_SET
    )
    momentum: Share = Field(0.9, description="of sgd and rmsprop", json_schema_extra=IF_SET)
    betas: tuple[Share, Share] = Field(
        (0.9, 0.999), description="of adamw, adam, nadam and radam", json_schema_extra=IF_SET
    )
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    schedule: Schedule = Field(
        "cosine",
        description="of the learning rate: cosine: to 0 at the last step; plateau: lowered where the score "
        "stays; exponential: to `decay` of it at the last step; steps: as `rates` say",
        json_schema_extra=IF_SET,
    )
    warm_up: int | None = Field(
        None,
        ge=0,
        description="steps in which the rate rises from 0; a twentieth of all with cosine, else none, if not "
        "given",
        json_schema_extra=IF_SET,
    )
    decay: Annotated[float, Field(gt=0, le=1)] = Field(
        0.01, description="exponential: what is left of the rate at the last step", json_schema_extra=IF_SET
    )
    rates: tuple[tuple[Positive, Annotated[float, Field(gt=0)]], ...] = Field(
        (), description="steps: from which step on which learning rate", json_schema_extra=IF_SET
    )
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2, description="plateau: by which the rate is multiplied", json_schema_extra=IF_SET
    )
    plateau_patience: int = Field(
        3,
        ge=0,
        description="plateau: validations without a better score that are put up with",
        json_schema_extra=IF_SET,
    )
    ema: Share = Field(
        0.0,
        description="momentum of a running mean of the weights, e.g. 0.999, which is validated and kept in "
        "their place; 0: none",
        json_schema_extra=IF_SET,
    )
    max_runtime: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="minutes of training, without pauses, after which it ends as behind its last step",
        json_schema_extra=IF_SET,
    )
    checkpoint_every: Positive = Field(250, json_schema_extra=ASIDE)
    snapshot_every: Positive | None = Field(
        None, description="steps after which the network is kept in snapshots/", json_schema_extra=ASIDE
    )
    snapshot_minutes: Annotated[float, Field(gt=0)] | None = Field(
        None, description="the same by time", json_schema_extra=ASIDE
    )
    keep_best: int = Field(
        0, ge=0, description="so many networks of the best scores are kept in best/", json_schema_extra=ASIDE
    )
    previews: NamesOrNone = Field(
        (),
        description="images that are drawn in previews/ as the network sees and maps them: maps for an "
        "enhancer, else raw",
        json_schema_extra=ASIDE,
    )
    preview_every: Positive = Field(250, description="steps between them", json_schema_extra=ASIDE)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the processor computes in it"
    )
    workers: int = Field(
        1,
        ge=0,
        description="processes that prepare samples; the result is the same for any",
        json_schema_extra=ASIDE,
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 …", json_schema_extra=ASIDE)

    @model_validator(mode="after")
    def _has_its_rates(self) -> Self:
        steps = [step for step, _ in self.rates]
        if steps != sorted(set(steps)):
            raise ValueError(
                "rates are not in the order of their steps; give each step once, the first first"
            )
        if bool(self.rates) != (self.schedule == "steps"):
            raise ValueError("rates and schedule: steps belong together; give both or neither")
        return self


LossTerm = Literal["dice", "bce", "focal", "tversky"]
AtLeastZero = Annotated[float, Field(ge=0, lt=math.inf)]
Weight = Annotated[float, Field(gt=0, lt=math.inf)]


class TrainingSettings(OptimisationSettings):
    """The training of one network on true labels."""

    loss: LossTerm | Literal["dice+bce"] | Annotated[dict[LossTerm, Weight], Field(min_length=1)] = Field(
        "dice+bce", description="or a weighted sum, such as {dice: 1, focal: 0.5}"
    )
    focal_gamma: AtLeastZero = Field(
        2.0, description="focal: how much less counts what is nearly right", json_schema_extra=IF_SET
    )
    tversky: tuple[AtLeastZero, AtLeastZero] = Field(
        (0.3, 0.7), description="weights of false positives and of false negatives", json_schema_extra=IF_SET
    )
    foreground_weight: Literal["frequency"] | Weight | tuple[Weight, ...] = Field(
        1.0,
        description="of foreground pixels in bce and focal: a number, one for each output, or frequency: "
        "background over foreground in the training samples, at most 100",
        json_schema_extra=IF_SET,
    )
    with_foreground: Fraction = Field(
        0.0,
        description="share of the training samples that are chosen to contain the class that they are of, "
        "for rare ones",
        json_schema_extra=IF_SET,
    )
    schedule: Schedule = "cosine"  # decides also by default, as it always did
    validate_every: Positive = 250
    patience: Positive = Field(8, description="validations without a better score after which training ends")


class EnhancerSettings(TrainingSettings):
    """The enhancer."""

    boundary: bool = Field(False, description="a second output: the boundaries of the labelled instances")
    raw: bool = Field(False, description="also train its companion, a network that sees raw beside the map")


class EnhancedSettings(Settings):
    """How the enhancer is applied."""

    block: tuple[Positive, ...] = Field(
        (1024, 1024), description="pixels per axis that are enhanced at a time, without what is seen around"
    )
    scales: tuple[Annotated[float, Field(ge=0.1, le=10)], ...] = Field(
        (0.5, 0.7, 1.0, 1.4),
        min_length=1,
        description="maps are resized by each of these factors, and the results averaged, those more that "
        "agree with the forest; the four have 3.7 times the pixels of [1]",
    )
    planes: Literal["z", "zyx"] | None = Field(
        None,
        description="a 2D enhancer in volumes (ndim 3) sees planes: z, those across z; zyx, those across "
        "each axis, averaged; if not given, zyx where voxels are about cubes",
    )
    pixel_size: Annotated[float, Field(gt=0)] | Literal["file"] | None = Field(
        None,
        description="nm, or file: as the raw files state it; scales are then relative to the pixel size that "
        "the enhancer learned at, so that it sees structures as large as there",
    )
    classes: Annotated[tuple[str, ...], AfterValidator(different)] | None = Field(
        None,
        min_length=1,
        description="the classes that are enhanced, the others keep the forest's maps; must be said where an "
        "enhancer of one structure meets several classes and bears the name of none",
    )
    raw: bool = Field(
        True, description="average with the maps of the enhancer's companion, which sees raw, if it has one"
    )
    statistics: Fraction = Field(
        0.5,
        description="how far the companion's batch normalisation goes from what it learned on to your "
        "images; 0: not at all",
    )
    device: str = Field(
        "auto",
        description="where forests and enhancer are applied: auto, cpu, cuda …",
        json_schema_extra={**ASIDE, **FLAG},
    )


Variant = Literal["plain", "consistency", "rectification", "both"]


class ConfidenceSettings(Settings):
    """How sure pseudo-labels are: whether several forests, each enhanced under flips, agree."""

    use: Literal["none", "weight", "mask"] = "weight"
    forests: Positive = Field(3, description="forests of the same strokes, grown from other seeds")
    flips: bool = Field(True, description="enhance also the flipped maps")
    threshold: Fraction = Field(0.5, description="mask: pixels less sure than this do not count")


class SegmentorSettings(OptimisationSettings):
    """The segmentor: a network for the target's raw, trained on pseudo-labels and strokes."""

    # variants, confidence, rounds and weights decide which stages there are and what goes into them
    variants: Annotated[tuple[Variant, ...], AfterValidator(different)] = Field(
        ("consistency",),
        min_length=1,
        description="also train a network on raw: plain, consistency, rectification or both",
        json_schema_extra={**ASIDE, **FLAGS, "flag_name": "segmentor", "metavar": "VARIANT"},
    )
    steps: Positive = 600
    with_strokes: Fraction = Field(
        0.5, description="share of the training samples that contain a stroke", json_schema_extra=IF_SET
    )
    stroke_weight: float = Field(1.0, ge=0, description="of the loss under strokes, which are true labels")
    consistency_weight: float = Field(1.0, ge=0)
    consistency_noise: float = Field(0.1, ge=0, description="in deviations of raw")
    teacher_momentum: Fraction = 0.999
    rectification_momentum: Fraction = 0.9999
    alignment: float = Field(0.0, ge=0, description="weight of keeping the pseudo-labels' foreground share")
    confidence: ConfidenceSettings = Field(ConfidenceSettings(), json_schema_extra=ASIDE)
    rounds: Positive = Field(
        1,
        description="the segmentor's maps become the next pseudo-labels, while held-out strokes improve",
        json_schema_extra=ASIDE,
    )

    @model_validator(mode="after")
    def _has_no_score(self) -> Self:
        if self.schedule == "plateau":
            raise ValueError(
                "schedule: plateau goes by validation, which a segmentor has none of; give another"
            )
        return self

"""pytorch-3dunet's training YAML, as far as it can be had here: every other key or value is refused by name.

Names and defaults are those of pytorch-3dunet 1.9 (github.com/wolny/pytorch-3dunet).
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from shallow2deep.settings import PackageSettings, Settings
from shallow2deep.settings.base import Positive, several

Paths = Annotated[tuple[str, ...], BeforeValidator(several), Field(min_length=1)]
Three = tuple[Positive, Positive, Positive]


class Model(Settings):
    """`model`."""

    name: Literal[
        "UNet2D", "UNet3D", "ResidualUNet2D", "ResidualUNet3D", "ResidualUNetSE2D", "ResidualUNetSE3D"
    ]
    in_channels: Literal[1]
    out_channels: Positive
    layer_order: str = Field("gcr", pattern="^[cgbrledD]+$")
    f_maps: Positive | tuple[Positive, ...] = 64
    num_levels: int | None = Field(None, ge=2, le=9)
    num_groups: Literal[8] = 8
    final_sigmoid: Literal[True] = True
    is_segmentation: Literal[True] = True
    is3d: bool | None = None
    conv_padding: Literal[1] = 1
    conv_kernel_size: Literal[3] = 3
    pool_kernel_size: Literal[2] = 2
    conv_upscale: Literal[2] = 2
    upsample: Literal["default", "deconv"] = "default"
    dropout_prob: float = Field(0.1, ge=0, lt=1)


class Trainer(Settings):
    """`trainer`; the run's folder takes the place of `checkpoint_dir`."""

    name: str | None = None
    checkpoint_dir: str | None = None
    validate_after_iters: Positive = 200
    log_after_iters: Positive = 100
    validate_iters: None = None
    max_num_epochs: Positive = 100
    max_num_iterations: Positive = 100_000
    eval_score_higher_is_better: Literal[True] = True
    resume: None = None
    pre_trained: None = None
    tensorboard_formatter: Any = None
    skip_train_validation: bool = False


class Optimizer(Settings):
    """`optimizer`."""

    name: Literal["Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD"] = "Adam"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = Field(0.0, ge=0, lt=1)


class Loss(Settings):
    """`loss`."""

    name: Literal["BCEWithLogitsLoss", "DiceLoss", "BCEDiceLoss"]
    alpha: float = Field(1.0, gt=0)
    beta: float = Field(1.0, gt=0)
    pos_weight: float | None = Field(None, gt=0)
    ignore_index: int | None = None
    skip_last_target: Literal[False] = False
    normalization: Literal["sigmoid"] = "sigmoid"


class Metric(Settings):
    """`eval_metric`: Dice at 0.5 takes the place of either."""

    name: Literal["DiceCoefficient", "MeanIoU"]
    skip_channels: tuple[int, ...] = Field((), max_length=0)
    ignore_index: int | None = None


class Scheduler(Settings):
    """`lr_scheduler`; its steps are validations."""

    name: Literal["ReduceLROnPlateau", "StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR"]
    mode: Literal["max"] = "max"
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(10, ge=0)
    step_size: Positive | None = None
    milestones: tuple[Positive, ...] = ()
    gamma: float = Field(0.1, gt=0, le=1)
    T_max: Positive | None = None
    eta_min: Literal[0] = 0


class SliceBuilder(Settings):
    """`slice_builder`: patches come from random places; `stride_shape` counts how many make an epoch."""

    name: Literal["SliceBuilder"] = "SliceBuilder"
    patch_shape: Three
    stride_shape: Three
    skip_shape_check: bool = False


class _Transform(Settings):
    """Further parameters are strengths, in place of which this program has its own."""

    model_config = ConfigDict(frozen=True, extra="allow")


class RawTransform(_Transform):
    """One of `transformer.raw`."""

    name: Literal[
        "Standardize", "Normalize", "PercentileNormalizer", "ToTensor", "RandomFlip", "RandomRotate90",
        "RandomRotate", "ElasticDeformation", "RandomContrast", "AdditiveGaussianNoise",
        "AdditivePoissonNoise", "GaussianBlur3D",
    ]  # fmt: skip
    execution_probability: float | None = Field(None, ge=0, le=1)
    angle_spectrum: float = Field(30, ge=0, le=180)


class MovedLabels(_Transform):
    """What labels have in common with raw."""

    name: Literal["ToTensor", "RandomFlip", "RandomRotate90", "RandomRotate", "ElasticDeformation"]
    ignore_index: None = None


class BlobsToMask(Settings):
    """Foreground is all that has a label."""

    name: Literal["BlobsToMask"]
    append_label: Literal[False] = False
    boundary: Literal[False] = False
    cross_entropy: Literal[False] = False
    ignore_index: None = None


class StandardLabelToBoundary(Settings):
    """Boundaries of what is labelled, behind the foreground if that is wanted."""

    name: Literal["StandardLabelToBoundary"]
    append_label: Literal[False] = False
    foreground: bool = False
    mode: Literal["thick"] = "thick"
    ignore_index: int | None = None


LabelTransform = Annotated[MovedLabels | BlobsToMask | StandardLabelToBoundary, Field(discriminator="name")]


class Transformer(Settings):
    """`transformer`."""

    raw: tuple[RawTransform, ...] = Field(min_length=1)
    label: tuple[LabelTransform, ...] = Field(min_length=1)
    weight: None = None


class Part(Settings):
    """`loaders.train` or `loaders.val`."""

    file_paths: Paths
    slice_builder: SliceBuilder
    transformer: Transformer


class Loaders(Settings):
    """`loaders`."""

    dataset: Literal["StandardHDF5Dataset", "LazyHDF5Dataset"] = "StandardHDF5Dataset"
    batch_size: Positive = 1
    num_workers: int = Field(1, ge=0, le=64)
    raw_internal_path: str = "raw"
    label_internal_path: str = "label"
    weight_internal_path: None = None
    global_normalization: bool = True
    train: Part
    val: Part


class UNetConfig(Settings):
    """The whole of it, with `device`; `package` is what exported packages say, as in our own settings."""

    device: str
    manual_seed: int = Field(0, ge=0)
    model: Model
    trainer: Trainer
    optimizer: Optimizer = Optimizer()
    loss: Loss
    eval_metric: Metric
    lr_scheduler: Scheduler | None = None
    loaders: Loaders
    package: PackageSettings = PackageSettings()

"""The settings: frozen models that refuse unknown keys; one file for each subject."""

from shallow2deep.settings.base import Settings, validated
from shallow2deep.settings.change import CHANGEABLE, Change
from shallow2deep.settings.data import ImageTable, PredictData, RawData, SourceData, TargetData
from shallow2deep.settings.features_forests import (
    FeatureSettings,
    ForestsSettings,
    ProbabilitiesSettings,
    StrokeSettings,
    TreeSettings,
)
from shallow2deep.settings.flags import ADAPT, Flag, sections_in, with_flags
from shallow2deep.settings.labelled import TrainConfig
from shallow2deep.settings.levels import CONFIGS, Level, leaves, levels_of, model_of, resolved, together
from shallow2deep.settings.networks import (
    AugmentSettings,
    ConfidenceSettings,
    EnhancedSettings,
    EnhancerSettings,
    NetworkSettings,
    OptimisationSettings,
    SegmentorSettings,
    TrainingSettings,
    Variant,
)
from shallow2deep.settings.package import AuthorSettings, CitationSettings, PackageSettings
from shallow2deep.settings.pretraining import (
    HidingSettings,
    PretrainConfig,
    PretrainingSettings,
    UnlabelledData,
)
from shallow2deep.settings.reading import (
    absolute_names,
    anchored,
    dump_yaml,
    flow_yaml,
    merged,
    parsed,
    read_yaml,
    with_names,
    with_overrides,
)
from shallow2deep.settings.segmentation import SIZE, ObjectsSettings
from shallow2deep.settings.source import EnhancerTrainConfig
from shallow2deep.settings.space import Space, Span, read_space, with_values
from shallow2deep.settings.target import AdaptConfig, CompareSettings

__all__ = [
    "ADAPT",
    "CHANGEABLE",
    "CONFIGS",
    "SIZE",
    "AdaptConfig",
    "AugmentSettings",
    "AuthorSettings",
    "Change",
    "CitationSettings",
    "CompareSettings",
    "ConfidenceSettings",
    "EnhancedSettings",
    "EnhancerSettings",
    "EnhancerTrainConfig",
    "FeatureSettings",
    "Flag",
    "ForestsSettings",
    "HidingSettings",
    "ImageTable",
    "Level",
    "NetworkSettings",
    "ObjectsSettings",
    "OptimisationSettings",
    "PackageSettings",
    "PredictData",
    "PretrainConfig",
    "PretrainingSettings",
    "ProbabilitiesSettings",
    "RawData",
    "SegmentorSettings",
    "Settings",
    "SourceData",
    "Space",
    "Span",
    "StrokeSettings",
    "TargetData",
    "TrainConfig",
    "TrainingSettings",
    "TreeSettings",
    "UnlabelledData",
    "Variant",
    "absolute_names",
    "anchored",
    "dump_yaml",
    "flow_yaml",
    "leaves",
    "levels_of",
    "merged",
    "model_of",
    "parsed",
    "read_space",
    "read_yaml",
    "resolved",
    "sections_in",
    "together",
    "validated",
    "with_flags",
    "with_names",
    "with_overrides",
    "with_values",
]

"""The settings: frozen models that refuse unknown keys; one file for each subject."""

from shallow2deep.settings.base import Settings, validated
from shallow2deep.settings.data import ImageTable, PredictData, RawData, SourceData, TargetData
from shallow2deep.settings.features_forests import (
    FeatureSettings,
    ForestsSettings,
    ProbabilitiesSettings,
    StrokeSettings,
    TreeSettings,
)
from shallow2deep.settings.flags import ADAPT, Flag, with_flags
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
from shallow2deep.settings.reading import absolute_names, anchored, dump_yaml, read_yaml, with_overrides
from shallow2deep.settings.source import EnhancerTrainConfig
from shallow2deep.settings.target import AdaptConfig, CompareSettings

__all__ = [
    "ADAPT",
    "AdaptConfig",
    "AugmentSettings",
    "AuthorSettings",
    "CitationSettings",
    "CompareSettings",
    "ConfidenceSettings",
    "EnhancedSettings",
    "EnhancerSettings",
    "EnhancerTrainConfig",
    "FeatureSettings",
    "Flag",
    "ForestsSettings",
    "ImageTable",
    "NetworkSettings",
    "OptimisationSettings",
    "PackageSettings",
    "PredictData",
    "ProbabilitiesSettings",
    "RawData",
    "SegmentorSettings",
    "Settings",
    "SourceData",
    "StrokeSettings",
    "TargetData",
    "TrainingSettings",
    "TreeSettings",
    "Variant",
    "absolute_names",
    "anchored",
    "dump_yaml",
    "read_yaml",
    "validated",
    "with_flags",
    "with_overrides",
]

"""A few brush strokes to a good segmentation of a new microscopy data set."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shallow2deep.version import VERSION

__version__ = VERSION

_HOMES = {
    "AdaptConfig": "config",
    "EnhancerTrainConfig": "config",
    "FeatureSpec": "features",
    "compute_features": "features",
    "Forest": "forests",
    "predict_probabilities": "forests",
    "train_forest": "forests",
    "adapt": "stages.target_run",
    "enhancer_train": "stages.source_run",
    "export": "stages.export",
    "predict": "stages.prediction",
}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from shallow2deep.settings import AdaptConfig as AdaptConfig
    from shallow2deep.settings import EnhancerTrainConfig as EnhancerTrainConfig
    from shallow2deep.features import FeatureSpec as FeatureSpec
    from shallow2deep.features import compute_features as compute_features
    from shallow2deep.forests import Forest as Forest
    from shallow2deep.forests import predict_probabilities as predict_probabilities
    from shallow2deep.forests import train_forest as train_forest
    from shallow2deep.commands.export import export as export
    from shallow2deep.commands.predict import predict as predict
    from shallow2deep.commands.enhancer_train import enhancer_train as enhancer_train
    from shallow2deep.commands.adapt import adapt as adapt


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: torch and numba take seconds to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

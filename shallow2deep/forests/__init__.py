"""Random forests on filter features: training, storing, predicting."""

from shallow2deep.forests.fit import SingleClassError, fit_forest, stroke_features, train_forest
from shallow2deep.forests.forest import Forest
from shallow2deep.inference.forest_maps import predict_features, predict_probabilities

__all__ = [
    "Forest",
    "SingleClassError",
    "fit_forest",
    "predict_features",
    "predict_probabilities",
    "stroke_features",
    "train_forest",
]

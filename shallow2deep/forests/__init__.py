"""Random forests on features: growing, storing, applying them to features."""

from shallow2deep.forests.apply import predict_features
from shallow2deep.forests.fit import SingleClassError, fit_forest
from shallow2deep.forests.forest import Forest

__all__ = ["Forest", "SingleClassError", "fit_forest", "predict_features"]

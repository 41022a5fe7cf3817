"""ilastik's filters: what is computed (`FeatureSpec`), and computing it."""

from shallow2deep.features.bank import compute_features
from shallow2deep.features.spec import FILTERS, FeatureSpec

__all__ = ["FILTERS", "FeatureSpec", "compute_features"]

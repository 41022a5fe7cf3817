"""ilastik's filters: what is computed (`FeatureSpec`), and computing it."""

from shallow2deep.features.bank import MARGIN, compute_features
from shallow2deep.features.spec import FILTERS, FeatureSpec

__all__ = ["FILTERS", "MARGIN", "FeatureSpec", "compute_features"]

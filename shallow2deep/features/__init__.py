"""Features of images: what is computed (`FeatureSpec`), what computes it (`Bank`), and computing it."""

from shallow2deep.features.bank import Bank, bank_of
from shallow2deep.features.ilastik_bank import compute_features
from shallow2deep.features.spec import FILTERS, FeatureSpec

__all__ = ["FILTERS", "Bank", "FeatureSpec", "bank_of", "compute_features"]

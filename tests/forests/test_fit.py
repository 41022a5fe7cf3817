"""Growing forests: equal to scikit-learn, and refused where nothing can be learned."""

import numpy as np
import pytest
from forests.samples import CLASSES, SPEC, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from shallow2deep.errors import InputError
from shallow2deep.forests import SingleClassError, fit_forest, predict_features


@settings(max_examples=20)
@given(
    n=st.integers(4, 300),
    trees=st.integers(1, 12),
    depth=st.sampled_from([None, 1, 5]),
    random_thresholds=st.booleans(),
    pixels=st.integers(1, 2500),
    seed=st.integers(0, 1000),
)
def test_equal_to_scikit_learn(
    n: int, trees: int, depth: int | None, random_thresholds: bool, pixels: int, seed: int
) -> None:
    x, y = samples(n, seed)
    x, y[:2] = np.round(x, 1), (0, 1)  # ties with thresholds, and at least two classes
    options = {"n_estimators": trees, "max_depth": depth, "random_state": seed}
    peer = ExtraTreesClassifier if random_thresholds else RandomForestClassifier
    expected = peer(**options).fit(x, y)
    ours = fit_forest(
        x, y, SPEC, CLASSES, n_trees=trees, max_depth=depth, random_thresholds=random_thresholds, seed=seed
    )
    test = np.round(samples(pixels, seed + 1)[0], 1)
    p = predict_features(ours, test.T.reshape(SPEC.n_features, pixels))
    np.testing.assert_allclose(p[expected.classes_].T, expected.predict_proba(test), atol=1e-6)


def test_what_cannot_be_trained_on_is_refused() -> None:
    x, y = samples(50)
    with pytest.raises(SingleClassError, match="nucleus"):
        fit_forest(x, np.ones_like(y), SPEC, CLASSES)
    with pytest.raises(InputError, match="finite"):
        fit_forest(np.where(x > 2, np.nan, x), y, SPEC, CLASSES)
    with pytest.raises(InputError, match="shape"):
        fit_forest(x[:, 1:], y, SPEC, CLASSES)
    with pytest.raises(InputError, match="0 to 1"):
        fit_forest(x, y + 1, SPEC, CLASSES[:2])

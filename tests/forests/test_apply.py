"""Forests applied to features: equal to scikit-learn on any shape, and probabilities whatever was grown."""

import math

import numpy as np
import pytest
from forests.samples import CLASSES, SPEC, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from shallow2deep.errors import FeatureMismatchError
from shallow2deep.forests import fit_forest, predict_features


@settings(max_examples=25)
@given(st.sampled_from([(1, 1), (1, 90), (90, 1), (37, 71), (1, 1, 1), (3, 1, 70), (9, 11, 13)]), st.data())
def test_images_of_any_shape_and_layout_equal_scikit_learn(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    x, y = samples(200)
    ours = fit_forest(x, y, SPEC, CLASSES, n_trees=5, seed=1)
    expected = RandomForestClassifier(n_estimators=5, random_state=1).fit(x, y)
    features = samples(math.prod(shape), 2)[0].T.reshape(-1, *shape)
    probabilities = expected.predict_proba(features.reshape(len(features), -1).T).T.reshape(3, *shape)
    layout = data.draw(st.sampled_from(["C", "F", "big-endian", "strided", "reversed"]))
    views = {
        "C": features,
        "F": np.asfortranarray(features),
        "big-endian": features.astype(">f4"),
        "strided": np.repeat(features, 2, -1)[..., ::2],
        "reversed": features[:, ::-1].copy()[:, ::-1],
    }
    np.testing.assert_allclose(predict_features(ours, views[layout]), probabilities, atol=1e-6)


def test_absent_class_has_probability_zero_in_its_own_column() -> None:
    x, y = samples(200, classes=2)
    p = predict_features(fit_forest(x, y * 2, SPEC, CLASSES, n_trees=5), x.T)
    assert (p[1] == 0).all()
    assert 0 <= p.min() <= p.max() <= 1
    assert p[2].max() > 0.5
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-6)


@pytest.mark.parametrize("n_trees", [1, 3, 40, 77])
def test_probabilities_of_two_classes_stay_within_0_and_1(n_trees: int) -> None:
    x, y = samples(300, classes=2)
    p = predict_features(fit_forest(x, y, SPEC, CLASSES[:2], n_trees=n_trees), x.T)
    assert 0 <= p.min() <= p.max() <= 1
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-6)


def test_features_that_do_not_match_are_refused() -> None:
    forest = fit_forest(*samples(50), SPEC, CLASSES, n_trees=2)
    with pytest.raises(FeatureMismatchError):
        predict_features(forest, np.zeros((3, 4, 4), np.float32))

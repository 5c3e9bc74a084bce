"""The cosine head: ridge on unit features by scikit-learn's folds, no surer than held-out images let it be."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import StratifiedKFold

from mergebench.errors import MergebenchError
from mergebench.training.cosine_probe import STRENGTHS, cosine_regression
from mergebench.training.linear_probe import fit_linear_head, logistic_regression
from mergebench.zoo.heads import ZeroShotHead, load_head


def noisy(images=90, width=60, classes=3, noise=2.0, seed=0):
    """Features of classes around centres, and as many others to test on."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width))
    labels = np.arange(images) % classes
    made = [centres[labels] + noise * rng.normal(size=(images, width)) + 1.0 for _ in range(2)]
    return *(torch.from_numpy(features) for features in made), torch.from_numpy(labels)


def test_it_is_scikit_learn_s_ridge_of_the_strength_that_folds_ask_for():
    features, _, labels = noisy()
    unit = (features / features.norm(dim=1, keepdim=True)).numpy()
    folds = list(StratifiedKFold(5).split(unit, labels))
    direction = lambda w: w / np.linalg.norm(w, axis=1, keepdims=True)  # noqa: E731
    scores = {}
    for strength in STRENGTHS:
        right = 0
        for fitted, other in folds:
            ridge = Ridge(strength, fit_intercept=False).fit(unit[fitted], np.eye(3)[labels[fitted]])
            right += ((unit[other] @ direction(ridge.coef_).T).argmax(1) == labels[other].numpy()).sum()
        scores[strength] = right
    best = max(s for s in STRENGTHS if scores[s] == max(scores.values()))
    expected = direction(Ridge(best, fit_intercept=False).fit(unit, np.eye(3)[labels]).coef_)
    head = cosine_regression(features, labels, 3)
    np.testing.assert_allclose(head.text_features, expected, atol=1e-5)
    assert len(set(scores.values())) > 1 and torch.equal(head.projection, torch.eye(60))


def test_the_length_of_a_feature_says_nothing():
    features, _, labels = noisy()
    head, again = (cosine_regression(f, labels, 3) for f in (features, features * torch.rand(90, 1).add(0.1).double()))
    torch.testing.assert_close(again.text_features, head.text_features)
    torch.testing.assert_close(head(3 * features.float()), head(features.float()))


def test_it_is_no_surer_than_images_that_it_never_saw_let_it_be():
    features, others, labels = noisy(noise=6.0)
    cosine, logistic = cosine_regression(features, labels, 3), logistic_regression(features, labels, 3)
    loss = lambda head, x: torch.nn.functional.cross_entropy(head.double()(x), labels).item()  # noqa: E731
    assert loss(cosine, others) < loss(logistic, others)
    scaled = [ZeroShotHead(cosine.projection, cosine.text_features, cosine.logit_scale * f) for f in (0.25, 1, 4)]
    assert np.argmin([loss(head, others) for head in scaled]) == 1
    # So behind it there is something left to learn, where a regression that knows its images by heart leaves nothing.
    assert loss(cosine, features) > 3 * loss(logistic, features)


def test_classes_that_lie_apart_leave_some_loss_to_train_on():
    features, _, labels = noisy(noise=0.1)
    head = cosine_regression(features, labels, 3).double()
    assert (head(features).argmax(1) == labels).all()
    loss = torch.nn.functional.cross_entropy(head(features), labels).item()
    assert 1 / len(labels) < 10 * loss < 1  # as sure as so many images let it be


@pytest.mark.parametrize("classes", [2, 7])
def test_it_is_read_back_as_any_head_is(classes):
    features, _, labels = noisy(classes=classes)
    head = cosine_regression(features, labels, classes)
    again = load_head(head.state_dict(), 60, classes, "the head")
    assert torch.equal(again(features.float()), head(features.float())) and again.classes == classes


def test_a_class_of_one_image_is_refused_with_a_remedy(mini):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    with pytest.raises(MergebenchError, match="class 2 has 1 training images.*--probe logistic"):
        scales = ((0.5,) * 3, (0.25,) * 3)
        fit_linear_head(mini.encoder(), images, np.array([0, 0, 1, 1, 2]), 3, *scales, probe="cosine")

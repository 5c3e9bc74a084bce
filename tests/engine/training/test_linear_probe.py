"""The linear probe is scikit-learn's, whatever the features' scales, and nothing in it is random."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.measuring.measure import measure
from mergebench.training.linear_probe import fit_linear_head, logistic_regression

SCALES = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_scikit_learn_s(classes):
    rng = np.random.default_rng(0)
    labels = np.arange(200) % classes
    centres = rng.normal(size=(classes, 12))
    features = (centres[labels] + rng.normal(size=(200, 12))) * rng.uniform(0.01, 100, 12) + rng.normal(size=12) * 10
    head = logistic_regression(torch.from_numpy(features), torch.from_numpy(labels), classes).double()
    # Two classes are one difference to scikit-learn, which it penalises twice as much as two opposite rows.
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 if classes > 2 else 2, tol=1e-10, max_iter=10_000)
    )
    expected = reference.fit(features, labels).predict_proba(features)
    found = head(torch.from_numpy(features)).softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_feature_that_never_changes_does_no_harm():
    features = torch.randn(30, 4, dtype=torch.float64)
    labels = torch.arange(30) % 3
    with_it = logistic_regression(torch.cat([features, torch.ones(30, 1)], 1), labels, 3)
    torch.testing.assert_close(with_it.weight[:, :4], logistic_regression(features, labels, 3).weight)
    assert not with_it.weight[:, 4].any()


@pytest.mark.parametrize("probe", ["logistic", "cosine"])
def test_it_learns_on_an_encoder_s_features_and_reads_a_memory_map(mini, tmp_path, probe):
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = rng.integers(0, 150, (90, 32, 32, 3), dtype=np.uint8)
    images[np.arange(90), :, :, labels] += 60  # the class is the brightest channel
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    encoder = mini.encoder()
    head = fit_linear_head(encoder, mapped, labels, 3, *SCALES, batch_size=32, probe=probe)
    again = fit_linear_head(encoder, images, labels, 3, *SCALES, batch_size=32, probe=probe).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in head.state_dict().items())
    pixels = ((torch.from_numpy(images) / 255 - torch.tensor(SCALES[0])) / torch.tensor(SCALES[1])).permute(0, 3, 1, 2)
    assert (head(encoder(pixels)).argmax(1).numpy() == labels).mean() > 0.95


@pytest.mark.parametrize("probe", ["logistic", "cosine"])
def test_it_holds_its_features_less_than_three_times(probe):
    count, width = 20_000, 512
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    labels, encoder = np.arange(count) % 2, nn.Sequential(nn.Flatten(), nn.Linear(48, width))
    fit_linear_head(encoder, images[:1000], labels[:1000], 2, *SCALES, probe=probe)  # what is loaded once
    with measure("cpu") as meter:
        fit_linear_head(encoder, images, labels, 2, *SCALES, probe=probe)
    assert meter.cost.peak_bytes < 3 * count * width * 8  # it was four times when every step made a copy


def test_a_class_without_an_image_is_named(mini):
    images = np.zeros((4, 32, 32, 3), dtype=np.uint8)
    with pytest.raises(MergebenchError, match="no training image of class 1"):
        fit_linear_head(mini.encoder(), images, np.array([0, 2, 0, 2]), 3, *SCALES)

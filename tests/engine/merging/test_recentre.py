"""A merged encoder's mean feature is moved to the base's by one bias, and nothing else changes."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mergebench.data.images import ExplicitBatches
from mergebench.errors import MergebenchError
from mergebench.merging.pool import ModelPool
from mergebench.merging.recentre import ALL, RECENTRING, moving_bias, recentre
from mergebench.weights.projection import Projection

SHAPE = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2, "num_classes": 0}


def pool_of(mini, base, merged, dtype=torch.float32):
    images = {
        t: ExplicitBatches([mini.images(i, 3, dtype), mini.images(9 + i, i + 1, dtype)], t) for i, t in enumerate("ab")
    }
    return ModelPool("recentre", RECENTRING, base, base.state_dict(), dict.fromkeys("ab", merged), calibration=images)


def means(mini, encoder, state, dtype=torch.float32):
    encoder.load_state_dict(state)
    with torch.no_grad():
        return [
            encoder(torch.cat([mini.images(i, 3, dtype), mini.images(9 + i, i + 1, dtype)])).mean(0) for i in (0, 1)
        ]


@pytest.mark.parametrize(
    "pooling", [{"global_pool": "token"}, {"global_pool": "avg"}, {"global_pool": "avg", "fc_norm": False}]
)
def test_the_mean_over_tasks_is_the_base_s_and_one_bias_moved(mini, pooling):
    torch.manual_seed(0)
    base = VisionTransformer(**SHAPE, **pooling).double().eval()
    merged = mini.expert(base, 0, scale=0.2)
    moved = recentre(pool_of(mini, base, merged, torch.float64), merged, 256)
    expected = torch.stack(means(mini, base, dict(base.state_dict()), torch.float64)).mean(0).clone()
    found = torch.stack(means(mini, base, moved.state, torch.float64)).mean(0)
    torch.testing.assert_close(found, expected)
    assert [n for n, t in moved.state.items() if not torch.equal(t, merged[n])] == [moved.bias]
    assert moved.before[ALL] > 0.05 and moved.after[ALL] < 1e-9
    assert set(moved.before) == {"a", "b", ALL} and f"{moved.before['a']:.2f} -> {moved.after['a']:.2f}" in str(moved)


def test_what_is_centred_already_stays(mini):
    base = mini.encoder()
    state = {n: t.clone() for n, t in base.state_dict().items()}
    moved = recentre(pool_of(mini, base, state), state, 256)
    assert all(torch.equal(t, state[n]) for n, t in moved.state.items())


def test_a_coarse_number_format_is_kept(mini):
    base = mini.encoder().half()
    merged = mini.expert(base, 0, scale=0.2)
    moved = recentre(pool_of(mini, base, merged), merged, 256)
    assert moved.state[moved.bias].dtype == torch.float16 and moved.after[ALL] < 0.01 < moved.before[ALL]


@pytest.mark.parametrize("wrong", [{"global_pool": "map"}, {"norm_layer": nn.Identity}, {"final_norm": False}])
def test_an_encoder_whose_last_step_is_no_norm_with_a_bias_is_refused(wrong):
    try:
        encoder = VisionTransformer(**SHAPE, **wrong)
    except TypeError:
        pytest.skip("this timm has no such encoder")
    with pytest.raises(MergebenchError, match="no final norm with a bias behind everything"):
        moving_bias(encoder)


class Squared(VisionTransformer):
    """Something stands behind the norm that its modules do not show."""

    def forward(self, images):
        return super().forward(images).square()


def test_features_that_do_not_follow_the_bias_are_refused(mini):
    torch.manual_seed(0)
    base = Squared(**SHAPE).eval()
    merged = mini.expert(base, 0, scale=0.3)
    with pytest.raises(MergebenchError, match="does not move this encoder's features as it should"):
        recentre(pool_of(mini, base, merged), merged, 256)


def test_an_encoder_with_a_projection_of_its_own_is_refused():
    encoder = VisionTransformer(**SHAPE)
    encoder.head = Projection(32, 16)
    with pytest.raises(MergebenchError, match="recentre: behind the final norm is a projection, .*; leave it out"):
        moving_bias(encoder)


def test_features_that_are_not_pooled_are_refused(mini):
    base = VisionTransformer(**SHAPE, global_pool="").eval()
    merged = mini.expert(base, 0)
    with pytest.raises(MergebenchError, match=r"recentre: features are \(17, 32\), and not pooled; leave it out"):
        recentre(pool_of(mini, base, merged), merged, 256)

"""Second stage of pre-training: a new text tower on few, poor captions, behind the locked image tower.

A small clean world would lack what CLIP has: strong features under a weak alignment of words to them. Here the words
are learned from a small set of pairs whose captions seldom name what is in the picture, and sometimes name it wrongly.
The image tower does not change (as in LiT, arXiv:2111.07991).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from open_clip import ClipLoss, CustomTextCLIP
from torch import Tensor, nn

from mergebench.tasks.tiny import model
from mergebench.tasks.tiny.pretraining.captions import Recipe, Vocabulary
from mergebench.tasks.tiny.pretraining.corpus import Corpus
from mergebench.tasks.tiny.pretraining.pretrain import BATCH, WEIGHT_DECAY, create_pair
from mergebench.training.module import parameter_groups


@dataclass(frozen=True)
class Realignment:
    """The second stage's recipe.

    Args:
        pairs: how many captioned pictures there are; each keeps its one caption.
        captions: how poor the captions are.
        steps: batches.
        rate: peak learning rate of AdamW.
    """

    pairs: int = 6000
    captions: Recipe = Recipe(named=0.2, wrong=0.2, facts=0.5)
    steps: int = 350
    rate: float = 1e-3


def realign(pair: CustomTextCLIP, corpus: Corpus, words: Vocabulary, recipe: Realignment, seed: int) -> CustomTextCLIP:
    """A pair with the same image tower and logit scale, and a text tower learned from scratch.

    Args:
        pair: the outcome of the first stage; not changed.
        recipe: how many pairs, and how poor.
        seed: of the new weights, of the choice of pictures and of their captions.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    fresh = create_pair(words.size)
    fresh.visual.load_state_dict(pair.visual.state_dict())
    fresh.logit_scale.data.copy_(pair.logit_scale.data)
    chosen = corpus.sample(recipe.pairs, rng)
    features = image_features(fresh, corpus.images[chosen])
    tokens = words(corpus.captions(chosen, recipe.captions, rng))
    fresh.requires_grad_(False)
    fresh.text.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameter_groups(fresh, WEIGHT_DECAY), lr=recipe.rate, betas=(0.9, 0.98))
    loss_of, scale = ClipLoss(), fresh.logit_scale.exp()
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        batch = rng.choice(recipe.pairs, size=min(BATCH, recipe.pairs), replace=False)
        loss = loss_of(features[batch], fresh.encode_text(tokens[batch], normalize=True), scale)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(fresh.text.parameters(), 1.0)
        optimiser.step()
    return fresh.eval()


@torch.no_grad()
def image_features(pair: CustomTextCLIP, images: np.ndarray) -> Tensor:
    """Unit image embeddings [N, embed] of uint8 images [N, 32, 32, 3]."""
    pair.eval()
    batches = torch.from_numpy(images).split(500)
    return torch.cat([pair.encode_image(model.normalise(batch), normalize=True) for batch in batches])

"""Contrastive pre-training of the tiny image-text pair, with open_clip's model and loss."""

import math
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from open_clip import ClipLoss, CustomTextCLIP
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mergebench.tasks.tiny import TASKS, model
from mergebench.tasks.tiny.pretraining.captions import CONTEXT, OPENERS, Recipe, Vocabulary
from mergebench.tasks.tiny.pretraining.corpus import FAMILIES, Corpus
from mergebench.training.module import parameter_groups
from mergebench.weights.writing import writing
from mergebench.zoo.heads import average_prompts

EMBED = 128
TEXT = {"width": 128, "heads": 4, "layers": 2, "context_length": CONTEXT}
# Captions of the first stage: good ones, so that the image tower learns strong features.
GOOD = Recipe(named=0.85, wrong=0.0, facts=0.5)
BATCH, RATE, WEIGHT_DECAY, WARMUP = 256, 1e-3, 0.05, 200
# Few families a batch: telling a road sign from a beach is soon learned, and wrong pairs then teach nothing more.
FAMILIES_A_BATCH = 3
CHECKPOINT_EVERY = 250


def vocabulary(corpus: Corpus) -> Vocabulary:
    """The subwords of all captions and of every task's prompts."""
    rng = np.random.default_rng(0)
    everything = np.arange(len(corpus.labels))
    texts = set(corpus.captions(everything, Recipe(1.0, 0.0, 1.0), rng))
    texts |= set(corpus.captions(everything, Recipe(0.0, 0.0, 1.0), rng))
    texts |= {prompt for task in TASKS.values() for prompts in prompts_of(task.card) for prompt in prompts}
    texts |= {form.format("") for entry in FAMILIES for form in entry.named} | set(OPENERS)
    return Vocabulary.of(texts)


def prompts_of(card) -> list[list[str]]:
    """Per class, its name in every template."""
    return [[template.format(name) for template in card.templates] for name in card.classes]


def create_pair(vocabulary_size: int) -> CustomTextCLIP:
    """An untrained pair: timm's image tower by its registered name, a small text transformer."""
    return CustomTextCLIP(
        embed_dim=EMBED,
        vision_cfg={
            "timm_model_name": model.ENCODER,
            "timm_model_pretrained": False,
            "timm_pool": "token",
            "timm_proj": "linear",
            "image_size": 32,
        },
        text_cfg=TEXT | {"vocab_size": vocabulary_size},
    )


def shifted(images: Tensor, generator: torch.Generator, reach: int = 2) -> Tensor:
    """Every image moved by up to `reach` pixels either way, edges repeated: uint8 [B, 32, 32, 3] -> the same."""
    batch, side = images.shape[:2]
    offsets = torch.randint(-reach, reach + 1, (2, batch, 1), generator=generator)
    rows, columns = (torch.arange(side) + offsets).clamp(0, side - 1)
    return images[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def pretrain(corpus: Corpus, words: Vocabulary, steps: int, seed: int, folder: Path) -> CustomTextCLIP:
    """Trains both towers; picks up from the last checkpoint in `folder`.

    Args:
        steps: batches of `BATCH` pairs.
        seed: of the initial weights, the batches and the captions.
        folder: where `pretrain.pt` is kept.
    """
    torch.manual_seed(seed)
    pair = create_pair(words.size)
    optimiser = torch.optim.AdamW(parameter_groups(pair, WEIGHT_DECAY), lr=RATE, betas=(0.9, 0.98))
    loss_of = ClipLoss()
    path, first = folder / "pretrain.pt", 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        if saved.get("seed", seed) != seed:
            raise ValueError(f"{path} was begun with seed {saved['seed']}, not {seed}; choose another --work")
        pair.load_state_dict(saved["pair"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    images, begun = torch.from_numpy(corpus.images), time.monotonic()
    for step in range(first, steps):
        # Every step draws from its own generator, so that a resumed run sees what an unbroken one would.
        rng, generator = np.random.default_rng([seed, step]), torch.Generator().manual_seed(seed * 10**6 + step)
        chosen = corpus.sample(BATCH, rng, FAMILIES_A_BATCH)
        tokens = words(corpus.captions(chosen, GOOD, rng))
        batch = model.normalise(shifted(images[chosen], generator))
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        # Flash attention's bf16 backward pass is slower on CPUs than everything else together.
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
            image_features, text_features, scale = pair(batch, tokens)
        loss = loss_of(image_features.float(), text_features.float(), scale)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            pair.logit_scale.clamp_(0, math.log(50))
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            reached = {"pair": pair.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1, "seed": seed}
            with writing(path) as temporary:
                torch.save(reached, temporary)
            accuracies = zero_shot(pair, words)
            mean = sum(accuracies.values()) / len(accuracies)
            shown = ", ".join(f"{name} {100 * a:.0f}" for name, a in ({"mean": mean} | accuracies).items())
            print(f"{step + 1}: {time.monotonic() - begun:.0f} s, loss {loss.item():.3f}, {shown}", flush=True)
    return pair.eval()


@cache
def _images(task: str, split: str) -> tuple[Tensor, Tensor]:
    """A task's split, normalised; rendered once a process."""
    images, labels = TASKS[task].load(split)
    return model.normalise(torch.from_numpy(images)), torch.from_numpy(labels)


@torch.no_grad()
def class_features(pair: CustomTextCLIP, words: Vocabulary, card) -> Tensor:
    """A task's text features [classes, embed]: the mean of its prompts."""
    pair.eval()
    return average_prompts([pair.encode_text(words(prompts)).float() for prompts in prompts_of(card)])


@torch.no_grad()
def zero_shot(pair: CustomTextCLIP, words: Vocabulary, split: str = "validation") -> dict[str, float]:
    """Every task's zero-shot accuracy, 0-1."""
    pair.eval()
    accuracies = {}
    for name, task in TASKS.items():
        images, labels = _images(name, split)
        guesses = (pair.encode_image(images) @ class_features(pair, words, task.card).T).argmax(1)
        accuracies[name] = (guesses == labels).float().mean().item()
    pair.train()
    return accuracies

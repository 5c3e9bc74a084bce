"""A task of one's own to train an expert on: a base and a folder of images, without a zoo's YAML file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergebench.catalogue.yaml_files import checked
from mergebench.configuration import ZooConfig, names_a_file
from mergebench.data.image_cache import Split
from mergebench.errors import MergebenchError
from mergebench.training.linear_probe import Probe, fit_linear_head
from mergebench.weights.states import SafetensorsState, digest, save_state
from mergebench.zoo.heads import Head, load_head
from mergebench.zoo.zoo import Zoo


def own_zoo(
    task: str,
    data: str,
    base: str,
    *,
    head: str | None = None,
    encoder: str | None = None,
    described: Mapping[str, Any] | None = None,
    root: str | None = None,
    allow_duplicates: bool = False,
) -> Zoo:
    """A zoo of one task, as a YAML file would describe it.

    Args:
        task: its name.
        data: where its images are: all that `data` of a described task may be.
        base: a checkpoint (a file, a folder, or `owner/name` on the hub), or a registered zoo whose base it is.
        head: a checkpoint of its classifier.
        encoder: what makes the empty model, where neither the base nor what lies beside it says so.
        described: what else there is to say of the task: fields as those of a described task.
        root: a folder in place of the hub.
        allow_duplicates: whether one and the same image may be in several splits.

    Raises:
        MergebenchError: a name that no file can have; an encoder that cannot be told; templates where no prompts are
            made.
    """
    described = dict(described or {})
    templates = described.get("templates")
    if templates and head:
        raise MergebenchError("--templates: the head is given (--head), and none is made from prompts; leave one out")
    if not names_a_file(task):
        raise MergebenchError(
            f"--task {task}: a task of one's own names its files, so it holds no / and no . in front, and is printable"
        )
    described |= {"data": data} | ({"head": head} if head else {})
    fields = {"title": task, "encoder": encoder, "base": base, "experts": "{task}", "tasks": {task: described}}
    zoo = Zoo(task, root, config=checked(ZooConfig, fields), allow_duplicates=allow_duplicates)
    if templates and not zoo.files.has_text:
        raise MergebenchError(
            f"--templates: {base} has no text tower, and no head is made from prompts; leave them out (a linear head "
            "is fitted), or start from a whole CLIP"
        )
    return zoo


def own_head(
    zoo: Zoo, task: str, train: Split, device: str, folder: Path | None = None, probe: Probe | None = None
) -> tuple[Head, str]:
    """A task's classifier, and how it came about: "given", "prompts"; where the base has no text tower it is fitted.

    A fitted one is "linear" (a logistic regression) or "cosine".

    Args:
        zoo: of `own_zoo`.
        task: its task.
        train: its training images.
        device: where to compute.
        folder: where a fitted head is kept: fitted again, after a break, it might differ in its last bits.
        probe: how it is fitted.

    Raises:
        MergebenchError: how is said, but none is fitted; or it cannot be.
    """
    if probe and (zoo.config.described[task].head or zoo.files.has_text):
        whence = "given (--head)" if zoo.config.described[task].head else "made from prompts by the base's text tower"
        raise MergebenchError(f"--probe {probe}: the head is {whence}, and none is fitted; leave it out")
    if zoo.config.described[task].head:
        return zoo.head(task), "given"
    if zoo.files.has_text:
        return zoo.head(task), "prompts"
    classes = len(zoo.task(task).card.classes)
    kind = "cosine" if probe == "cosine" else "linear"
    what = [digest(zoo.base), zoo.identity, train.digest, classes, *(["cosine"] if kind == "cosine" else [])]
    fitted_on = json.dumps(what, sort_keys=True)
    kept = folder and folder / f"head-{hashlib.sha256(fitted_on.encode()).hexdigest()[:16]}.safetensors"
    if kept and kept.is_file():
        return load_head(SafetensorsState(kept), zoo.encoder.width, classes, f"the head kept in {kept}"), kind
    encoder, how = zoo.make_encoder(), probe or "logistic"
    head = fit_linear_head(encoder, train.images, train.labels, classes, zoo.mean, zoo.std, device, probe=how)
    if kept:
        save_state(head.state_dict(), kept)
    return head, kind

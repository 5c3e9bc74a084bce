"""A task of one's own to train an expert on: a base and a folder of images, without a zoo's YAML file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergebench.catalogue.yaml_files import checked
from mergebench.configuration import ZooConfig, names_a_file
from mergebench.data.content import Split
from mergebench.errors import MergebenchError, tell
from mergebench.training.linear_probe import Probe, fit_linear_head, usual_probe
from mergebench.weights.encoders import Encoder
from mergebench.weights.states import digest
from mergebench.zoo.heads import Head
from mergebench.zoo.kept_heads import keep, kept
from mergebench.zoo.zoo import Zoo

FITTED = ("linear", "cosine")  # how a head came about that `own_head` fitted


def own_zoo(
    task: str,
    data: str,
    base: str,
    *,
    head: str | None = None,
    encoder: Encoder | None = None,
    described: Mapping[str, Any] | None = None,
    root: str | None = None,
    allow_duplicates: bool = False,
    image_size: int | None = None,
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
        image_size: in pixels, that the base is taken to.

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
    fields = {"title": task, "base": base, "experts": "{task}", "tasks": {task: described}}
    config = checked(ZooConfig, fields)
    zoo = Zoo(task, root, config=config, allow_duplicates=allow_duplicates, encoder=encoder, image_size=image_size)
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
        zoo: of `own_zoo`, or any other.
        task: one of its tasks.
        train: its training images.
        device: where to compute.
        folder: where a fitted head is kept: fitted again, after a break, it might differ in its last bits.
        probe: how it is fitted; `usual_probe`, if nothing is said.

    Raises:
        MergebenchError: how is said, but none is fitted; or it cannot be.
    """
    described = zoo.config.described.get(task)
    given = described is None or described.head or zoo.config.weights  # a head of a registered task is the zoo's
    if probe and (given or zoo.files.has_text):
        whence = "given" if given else "made from prompts by the base's text tower"
        raise MergebenchError(f"--probe {probe}: the head of {task!r} is {whence}, and none is fitted; leave it out")
    if given:
        return zoo.head(task), "given"
    if zoo.files.has_text:
        return zoo.head(task), "prompts"
    classes = len(zoo.task(task).card.classes)
    how = probe or usual_probe(train.labels, classes)
    if not probe and how == "logistic":
        tell(f"task {task!r}: a class has one training image, and none to hold out; its head is a logistic regression")
    kind = "cosine" if how == "cosine" else "linear"
    what = [digest(zoo.base), zoo.identity, train.digest, classes, *(["cosine"] if kind == "cosine" else [])]
    fitted_on = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    path = folder and folder / f"head-{fitted_on}.safetensors"
    found = kept(path, zoo.encoder.width, classes) if path else None
    if found is not None:
        return found, kind
    head = fit_linear_head(
        zoo.make_encoder(), train.images, train.labels, classes, zoo.mean, zoo.std, device, probe=how
    )
    if path:
        keep(head, path)
    return head, kind

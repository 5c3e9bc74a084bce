"""The 20 CLIP tasks, and one that takes another's place, each described in one YAML file in `cards`."""

from pathlib import Path

import yaml

from mergebench.configuration import TaskConfig
from mergebench.data.described import make_task
from mergebench.data.task import Task

CARDS = Path(__file__).parent / "cards"
# Their fixed order: 8, 14 and 20 tasks are the first 8, 14 and 20.
ORDER = (
    *("sun397", "stanford-cars", "resisc45", "eurosat", "svhn", "gtsrb", "mnist", "dtd"),
    *("oxford_flowers102", "pcam", "fer2013", "oxford-iiit-pet", "stl10", "cifar100"),
    *("cifar10", "food101", "fashion_mnist", "emnist_letters", "kmnist", "rendered-sst2"),
)

# Of other families of experts: what takes the place of which.
PLACES = {"emnist_digits": "emnist_letters"}


def described(name: str) -> TaskConfig:
    """What a task's file says."""
    # Whoever asks for any task reads all of these: libyaml, where PyYAML has it, is eight times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load((CARDS / f"{name}.yaml").read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (safe)
    # What the published experts were shown is what PIL makes of any image.
    return TaskConfig.model_validate({"alpha": "dropped", "white": 255} | content)


TASKS: dict[str, Task] = {
    name: make_task(name, described(name), CARDS, PLACES.get(name, name)) for name in (*ORDER, *PLACES)
}

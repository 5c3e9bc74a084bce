"""The 20 CLIP tasks, each described in one YAML file in `cards`."""

from mergebench.task import Task

TASKS: dict[str, Task] = {}

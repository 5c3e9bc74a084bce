"""Small data sets in real formats."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mergebench.configuration import TaskConfig
from mergebench.data.described import make_task
from mergebench.data.task import Place, Task

SIZE = 16


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """An image like no other: of any number."""

    def made(number: int, mode: str = "RGB") -> Image.Image:
        rng = np.random.default_rng(number)
        return Image.fromarray(rng.integers(0, 256, (20 + number % 5, 30, 3), dtype=np.uint8)).convert(mode)

    return made


@pytest.fixture
def encoded(picture) -> Callable[..., bytes]:
    """An image of a number as the bytes of a file."""

    def made(number: int, kind: str = "PNG") -> bytes:
        file = io.BytesIO()
        picture(number).save(file, kind)
        return file.getvalue()

    return made


@pytest.fixture
def image_folder(tmp_path, picture) -> Callable[..., Path]:
    """Writes folders of images: path of a class -> numbers of its images."""

    def written(root: str = "pictures", suffix: str = ".png", **classes: Sequence[int]) -> Path:
        for place, numbers in classes.items():
            folder = tmp_path / root / place.replace("__", "/")
            folder.mkdir(parents=True, exist_ok=True)
            for number in numbers:
                picture(number).save(folder / f"{number:03}{suffix}")
        return tmp_path / root

    return written


@pytest.fixture
def placed(tmp_path) -> Callable[..., Task]:
    """The task of a description, as it is at a place."""

    def made(name: str = "flowers", root: Path | None = None, size: int = SIZE, **fields: object) -> Task:
        return make_task(name, TaskConfig(**fields), tmp_path).at(Place(size, root, download=False))

    return made

"""Files of suites, studies, zoos and descriptions after accidents: read, or refused by a MergebenchError."""

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from mutating import fuzzed, mutated

from mergebench.catalogue.trust import method_files
from mergebench.catalogue.yaml_files import kind_of, read_study, read_suite, read_zoo
from mergebench.cli.description import of_file
from mergebench.cli.option_file import expanded
from mergebench.configuration import TaskConfig
from mergebench.errors import MergebenchError, in_words, on_one_line

TASK = {"data": "pictures", "classes": ["a", "b"], "counts": {"train": 9, "test": 3}, "templates": ["a {}."]}
SUITE = {
    "title": "t", "zoo": "tiny", "merge": ["digits", "signs"], "held_out": [["digits"]], "version": 2,
    "hyperparameters": {"ties": {"scaling": 0.3, "keep": 0.2}}, "corruptions": {"noise": [1, 5]},
}  # fmt: skip
STUDY = {"title": "t", "suite": "tiny-8", "methods": ["ties"], "vary": {"scaling": [0.1, 0.2]}, "seeds": [0, 1]}
ZOO = {
    "title": "t", "base": "owner/base@main", "experts": "owner/{task}", "options": {"img_size": 32},
    "tasks": {"flowers": TASK | {"white": 255}, "pets": TASK}, "hyperparameters": {"ties": {"scaling": 0.1}},
}  # fmt: skip
FILES = {
    "suite": (read_suite, SUITE),
    "study": (read_study, STUDY),
    "zoo": (read_zoo, ZOO),
    "description": (lambda path: TaskConfig(**of_file(path)), TASK),
    "options": (lambda path: expanded(["run", "--config", path]), {"suite": "tiny-8", "set": ["a.b=1"]}),
}


@pytest.mark.parametrize("kind", FILES)
def test_yaml(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read, fields = FILES[kind]
    path = Path(tmp_path) / "mine.yaml"
    whole = yaml.safe_dump(fields, sort_keys=False).encode()

    @fuzzed
    @given(mutated(whole))
    def reads(content):
        path.write_bytes(content)
        with suppress(*((ValueError,) if kind == "description" else ()), MergebenchError):
            found = read(str(path))
            on_one_line(found)
            if kind in ("suite", "study", "zoo"):
                method_files(found)
        try:
            kind_of(str(path))
        except MergebenchError as error:
            assert "mine.yaml" in in_words(error)

    reads()

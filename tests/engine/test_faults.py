"""Nothing that was finished is lost, and no half of anything is read, wherever a fault strikes what writes files."""

import os
import re
from pathlib import Path

import faults
import pytest
from pieces import MADE_WHEN_ASKED, PIECES, old_ones_lost

LEFT_OVER = re.compile(r"\.[^/]+\.[a-z0-9_]{8}|\.[^/]+\.lock")  # hidden, and never looked at


@pytest.fixture(autouse=True)
def _cache(monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", os.environ["MERGEBENCH_CACHE"])  # put back after each


@pytest.mark.long
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda f: f if isinstance(f, str) else os.strerror(f))
@pytest.mark.parametrize("name", PIECES)
def test_wherever_it_strikes(name, fault):
    piece = PIECES[name]
    well = []

    def files(folder: Path) -> set[str]:
        return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}

    def after(folder: Path, hit: bool, said: str) -> None:
        assert not old_ones_lost(folder)
        if said:
            assert "\n" not in said and re.match(r"cannot (write|move) \S+.*: .*; ", said) and str(folder) in said, said
        if name not in MADE_WHEN_ASKED:
            before = piece.found(folder)
            assert before or hit, "it ended well, and nothing is there"
            assert before or said or fault in faults.FAULTS[:3]
        piece.work(folder)
        assert piece.found(folder)
        left = {path for path in files(folder) if LEFT_OVER.fullmatch(Path(path).name)}
        if not hit:
            well.append(files(folder) - left)
        seen.append(files(folder) - left)

    seen = []
    points = faults.walk(piece.before, piece.work, after, fault)
    assert points >= 3
    # Nothing lies about under a name that anybody would look at.
    assert all(found == well[0] for found in seen), [found ^ well[0] for found in seen]

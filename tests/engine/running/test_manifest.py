"""A manifest that cannot be read: why, and what helps; a folder with such a one is not well, and is looked through."""

import pytest

from mergebench.errors import MergebenchError
from mergebench.running import manifest
from mergebench.running.contents import MANIFEST

BROKEN = {
    "absent": (lambda path: None, r"it cannot be read \(No such file or directory\); unpack the archive again"),
    "a folder": (lambda path: path.mkdir(), r"it cannot be read \(Is a directory\); unpack the archive again"),
    "long": (lambda path: path.write_text("{}" * 50), "it has more than 99 bytes; unpack the archive again"),
    "empty": (lambda path: path.write_text(""), "it is no manifest"),
}


@pytest.mark.parametrize(("make", "told"), BROKEN.values(), ids=BROKEN)
def test_a_manifest_that_cannot_be_read_is_told_with_the_reason(make, told, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "LARGEST", 99)
    make(tmp_path / MANIFEST)
    with pytest.raises(MergebenchError, match=rf"MANIFEST\.json: {told}"):
        manifest.read_manifest(tmp_path)


def test_a_folder_whose_manifest_is_too_long_is_not_well(folder, monkeypatch):
    monkeypatch.setattr(manifest, "LARGEST", 99)
    folder.put()
    folder.file(MANIFEST, "{}" * 50)
    found = folder.look()
    assert found.archive and not found.well
    assert found.faults == {MANIFEST: "it has more than 99 bytes; unpack the archive again"}

"""Names of home folders go from what is published, wherever they stand; what only looks like one stays."""

from pathlib import Path

import pytest

from mergebench.running.homes import Homes

OWN = Path("/srv/people/ann")
TEXTS = {
    "/srv/people/ann/mine.py": "~/mine.py",
    'File "/srv/people/ann/mine.py", line 3': 'File "~/mine.py", line 3',
    "/srv/people/ann": "~",
    "/srv/people/anna/x": "/srv/people/anna/x",
    "/home/bob/zoo": "~3/zoo",
    "file:///home/bob/zoo": "file://~3/zoo",
    "--root=/home/bob": "--root=~3",
    "C:\\Users\\Bob\\zoo": "~5\\zoo",
    "/Users/carol/zoo": "~2/zoo",
    "/root/zoo and /rooted": "~4/zoo and /rooted",
    "hf://home/bob/zoo": "hf://home/bob/zoo",
    "/usr/lib/python3/home/x": "/usr/lib/python3/home/x",
    "zoo/home/bob": "zoo/home/bob",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_home_folder_in_a_text(text):
    homes = Homes(OWN)
    for other in ("/home/bob/", "C:\\Users\\Bob\\", "/Users/carol", "/root/"):
        assert homes.look(other)
    assert homes.without(text) == TEXTS[text]
    assert homes.look(text) == (TEXTS[text] != text)


def test_what_differs_goes_on_differing_and_fields_have_names_too():
    homes = Homes(OWN)
    content = {"a": ["/home/b/x", "/home/c/x", {"/srv/people/ann/x": 1.5}], "n": None, "t": True}
    assert homes.look(content)
    plain = homes.without(content)
    assert plain == {"a": ["~2/x", "~3/x", {"~/x": 1.5}], "n": None, "t": True}
    assert not homes.look(plain)


def test_a_user_without_a_home_hides_no_path():
    homes = Homes(Path("/"))
    assert not homes.look("/usr/lib") and homes.without("/usr/lib") == "/usr/lib"

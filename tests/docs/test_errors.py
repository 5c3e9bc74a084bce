"""The page of messages: each is still said where the page says so, and shows nothing of a machine."""

import re
from pathlib import Path

import errors_seen
from docs_texts import TEXTS

from mergebench.errors import is_unseen

MESSAGES = [
    (room, file, re.sub(r"\\([\\|*_`])", r"\1", message).replace("&lt;", "<"))
    for room, section in re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", TEXTS["docs/errors.md"], re.MULTILINE | re.DOTALL)
    for file, message in re.findall(r"^\| `(\S+)` \| (.*) \|$", section, re.MULTILINE)
]


def said_by(site, file, message):
    """Whether a place in the sources says a message; of a message that the page cuts, its beginning counts."""
    if site.file != file:
        return False
    if site.pattern is None:
        return True
    if message.endswith(" ..."):
        first = re.split(r"\.\*", site.pattern.pattern)[0]
        return re.match(first, message) is not None
    return site.pattern.fullmatch(message) is not None


def test_every_message_is_still_said_there():
    sites = list(errors_seen.sites())
    stale = [(r, f, m) for r, f, m in MESSAGES if not any(said_by(site, f"{r}/{f}", m) for site in sites)]
    assert MESSAGES and stale == []


def test_no_message_shows_this_machine_nor_what_is_not_seen():
    for _, _, message in MESSAGES:
        assert "/pytest-of-" not in message and str(Path.home()) not in message and "Traceback" not in message
        assert not any(map(is_unseen, message))

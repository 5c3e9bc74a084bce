"""What is kept must not tell: values of secret variables of the environment, tokens, and credentials in addresses.

A method's error, or what it reports, is other people's text: a library quotes the address that it asked, with a token
in it, and whoever looks for a fault prints all of the environment.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any
from urllib.parse import quote, quote_plus

from mergebench.measuring.results import Result

HIDDEN = "[hidden]"
SHORTEST = 8  # characters of a value that is looked for: a shorter one stands by chance in other words

# What variables of secrets are called, in parts: HF_TOKEN, AWS_SECRET_ACCESS_KEY, PGPASSWORD. (PWD alone is a folder.)
_PARTS = re.compile(r"TOKENS?|(API|ACCESS)?KEYS?|SECRETS?|PASS|PASSPHRASE|CREDENTIALS?|\w*(PASSWORD|PASSWD|APIKEY)")
_USUAL = ("MYSQL_PWD", "SSHPASS", "RCLONE_CONFIG_PASS")

_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)(?:[^\s/?#@'\"<>]*:[^\s/?#'\"<>]*|[^\s/?#@:'\"<>]{8,})@", re.I)
_ASKED = re.compile(
    r"([?&][\w.~-]{0,40}(?:token|key|secret|signature|sig|password|policy|credential)[\w.~-]{0,40}=)[^&\s'\"<>#]+", re.I
)
_HEADER = re.compile(
    r"(\bauthorization['\"]?\s{0,3}[:=]\s{0,3}['\"]?(?:(?:bearer|basic|token)\s{1,3})?)[^\s'\",;]+", re.I
)
_SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|AKIA[0-9A-Z]{16})\b"
)


def secret_values() -> dict[str, str]:
    """The environment's secrets, as they may be written: spelling -> the variable; the longest first."""
    found: dict[str, str] = {}
    for name, value in os.environ.items():
        if name.upper() in _USUAL or any(_PARTS.fullmatch(part) for part in name.upper().split("_")):
            for spelling in _spellings(value.strip()):
                found.setdefault(spelling, name)
    return {spelling: found[spelling] for spelling in sorted(found, key=len, reverse=True)}


def _spellings(value: str) -> Iterator[str]:
    """A value as it is, in a Python text, in JSON, and in an address."""
    quoted = (value, repr(value)[1:-1], value.replace("\\", "\\\\").replace('"', '\\"'), quote(value, ""))
    yield from (spelling for spelling in (*quoted, quote_plus(value)) if len(value) >= SHORTEST)


def named_in(text: str) -> str:
    """The variable of the environment whose secret value stands in a text; empty if none does."""
    return next((name for spelling, name in secret_values().items() if spelling in text), "")


def without_secrets(fact: Any) -> Any:
    """A text, or lists and mappings of such, in which what is secret is told to be hidden; other values as they are."""
    return _without(fact, secret_values())


def _without(fact: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(fact, str):
        return _hidden(fact, secrets)
    if isinstance(fact, Mapping):
        return {_without(name, secrets): _without(value, secrets) for name, value in fact.items()}
    if isinstance(fact, (list, tuple)):
        return [_without(value, secrets) for value in fact]
    return fact


def _hidden(text: str, secrets: Mapping[str, str]) -> str:
    text = reduce(lambda told, secret: told.replace(secret, HIDDEN), secrets, text)
    text = _ADDRESS.sub(rf"\1{HIDDEN}@", text)
    for pattern in (_ASKED, _HEADER):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return _SHAPES.sub(HIDDEN, text)


TEXTS = ("error", "where", "traceback", "diagnostics", "origins", "duplicates")  # what of a result others have written


def told(result: Result) -> Result:
    """A result as it may be stored: nothing secret in what is no part of its cell's identity."""
    return result.model_copy(update={name: without_secrets(getattr(result, name)) for name in TEXTS})

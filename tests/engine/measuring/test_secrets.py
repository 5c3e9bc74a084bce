"""What a result keeps tells no secret of the environment, however it is spelt, and no credentials of an address."""

import json

import pytest
from guard import bounded

from mergebench.measuring.secrets import HIDDEN, named_in, without_secrets

VALUE = 'p4ss"w\\rd/+ =42'
NAMES = [
    "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_SERVICE_KEY", "APP_SECRET", "PGPASSWORD", "DB_PASSWORD_FILE_KEY",
    "hub_token", "WANDB_APIKEY", "MYSQL_PWD", "A_PASSPHRASE", "GOOGLE_CREDENTIALS", "NPM_TOKENS",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_s_value_is_hidden_in_every_spelling(name, monkeypatch):
    monkeypatch.setenv(name, f" {VALUE}\n")  # as `export X=$(cat file)` leaves it
    from urllib.parse import quote, quote_plus

    for spelt in (VALUE, repr({"a": VALUE}), json.dumps(VALUE), quote(VALUE, ""), quote_plus(VALUE)):
        told = without_secrets(f"before {spelt} after")
        assert HIDDEN in told and "42" not in told and told.startswith("before ") and told.endswith(" after"), told
    assert named_in(f"x{VALUE}x") == name and named_in("x") == ""


@pytest.mark.parametrize("name", ["PWD", "PATH", "TOKENIZERS_PARALLELISM", "MONKEY", "KEYBOARD", "LANG"])
def test_other_variables_are_told(name, monkeypatch):
    monkeypatch.setenv(name, "/a/long/enough/value")
    assert without_secrets("at /a/long/enough/value") == "at /a/long/enough/value"


def test_short_values_are_not_looked_for(monkeypatch):
    monkeypatch.setenv("A_TOKEN", "false")
    monkeypatch.setenv("B_TOKEN", "")
    assert without_secrets("false") == "false"


@pytest.mark.parametrize(
    "text, told",
    [
        ("https://me:pass@host/x?a=1", "https://[hidden]@host/x?a=1"),
        ("git+ssh://longtokenastheuser@host/x", "git+ssh://[hidden]@host/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("postgres://u:p%40:q@h:5432/d", "postgres://[hidden]@h:5432/d"),
        ("GET /f?X-Amz-Security-Token=abc%2F&b=2", "GET /f?X-Amz-Security-Token=[hidden]&b=2"),
        ("https://h/f?Policy=aa&Signature=bb~&Key-Pair-Id=CC", "https://h/f?Policy=[hidden]&Signature=[hidden]&Key-Pair-Id=[hidden]"),
        ("{'Authorization': 'Bearer abc.def'}", "{'Authorization': 'Bearer [hidden]'}"),
        ("authorization: abc", "authorization: [hidden]"),
        ("with hf_" + "aB3" * 12 + " it", "with [hidden] it"),
        ("ghp_" + "x" * 36, "[hidden]"),
        ("AKIA" + "A1" * 8, "[hidden]"),
    ],
)  # fmt: skip
def test_credentials_are_hidden_whatever_the_environment_says(text, told):
    assert without_secrets(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x32 and 64x16)",
        'File "/home/a/mine.py", line 3, in f\n    raise ValueError(f"key {key!r}")',
        "https://example.org/a@b?page=2", "a ratio of 3:4@night", "scaling=0.3, key=value", "mail me@example.org",
        "hf_vision_model", "landcover@0123456789abcdef",
    ],
)  # fmt: skip
def test_ordinary_text_passes(text):
    assert without_secrets(text) == text


def test_lists_and_mappings_are_looked_through(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "abcdefgh")
    told = without_secrets({"a": ["abcdefgh", {"abcdefgh": ("x", 1.5, None)}], "n": 3})
    assert told == {"a": [HIDDEN, {HIDDEN: ["x", 1.5, None]}], "n": 3}


def test_long_texts_take_no_time_to_speak_of():
    for unit in ("://", "a:", "?token", "?token=", "authorization", "https://a:", "@", "hf_", "a" * 50 + "://" + "b:"):
        with bounded(unit):
            without_secrets(unit * (400_000 // len(unit)))

"""A method that tells the environment, in an error or in what it reports, has it kept nowhere."""

import pytest

from mergebench.cli import main
from mergebench.errors import MergebenchError
from mergebench.submissions import packing

SECRETS = {
    "HF_TOKEN": "hf_secretofthehub123",
    "AWS_SECRET_ACCESS_KEY": "aws+secret/'quoted'\\x",
    "MY_PASSWORD": "correct horse",
}
METHOD = '''
import os

from mergebench import Needs, merge_method


@merge_method("{name}", title="T", needs=Needs())
def {name}(pool):
    """Tells what is no business of anybody's."""
    {body}
    return pool.map_experts(lambda experts: experts.mean(0))
'''
AT = "https://me:hunter22@example.org/?token=abc"
BODIES = {
    "raises": f"raise ValueError(str(os.environ) + ' at {AT}')",
    "chains": """
    try:
        {}[os.environ['MY_PASSWORD']]
    except KeyError:
        raise OSError(2, os.environ['HF_TOKEN'])""",
    "reports": f"pool.report(environment=dict(os.environ), at='{AT}', deep=[{{'x': [os.environ['HF_TOKEN']]}}])",
}


@pytest.fixture
def secrets(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return [*SECRETS.values(), repr(SECRETS["AWS_SECRET_ACCESS_KEY"])[1:-1], "hunter22"]


@pytest.mark.long
@pytest.mark.parametrize("name", BODIES)
def test_no_file_of_a_run_holds_a_secret(name, secrets, write, tmp_path):
    (tmp_path / "m.py").write_text(METHOD.replace("{body}", BODIES[name]).replace("{name}", name))
    suite = write("two", title="t", zoo="tiny", merge=["digits", "landcover"])
    out = tmp_path / "out"
    status = main(["run", "--methods", f"{tmp_path}/m.py:{name}", "--suite", suite, "--out", str(out)])
    assert status == (0 if name == "reports" else 1)
    kept = {path: path.read_text(errors="replace") for path in out.rglob("*") if path.is_file()}
    assert any("[hidden]" in text for text in kept.values()) and len(kept) > 3
    for path, text in kept.items():
        assert not [secret for secret in secrets if secret in text], path


def test_a_submission_with_a_secret_in_its_code_is_refused(secrets):
    with pytest.raises(MergebenchError, match="code holds the value of the environment's HF_TOKEN, .*take it out"):
        packing._as_text({"method": {"name": "m"}, "code": {"text": f"TOKEN = '{SECRETS['HF_TOKEN']}'\n"}})

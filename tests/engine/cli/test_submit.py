"""From an idea to a verified row, as the tutorial tells it; and what is refused on the way."""

import json
import re
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from mergebench.cli import main

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
TUTORIAL = (ROOT / "docs/tutorials/own-method.md").read_text()
WALK = re.search(r"<!-- walk -->\s+```sh\n(.*?)```\s+<!-- /walk -->", TUTORIAL, re.DOTALL)[1]
IDEA = re.search(r"```python\n# mine\.py\n(.*?)```", TUTORIAL, re.DOTALL)[1]
# In place of eight tasks and three seeds.
SMALL = {"submit": ["--suite", "./two.yaml", "--seeds", "0", "3"], "verify": ["--suite", "./two.yaml"]}
SUITE = {"title": "two of the eight", "zoo": "tiny", "merge": ["landcover", "digits"]}


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder in which every line of the walk went well, and what each verb said."""
    place = tmp_path_factory.mktemp("walk")
    (place / "mine.py").write_text(IDEA)
    (place / "two.yaml").write_text(yaml.safe_dump(SUITE))
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for line in WALK.splitlines():
            _, verb, *words = shlex.split(line.replace("tiny-8", "two"), comments=True)
            with (place / verb).open("w") as output, redirect_stdout(output):
                status = main([verb, *words, *SMALL.get(verb, [])])
            said[verb] = (place / verb).read_text()
            assert status == 0, said[verb]
    return place, said


def test_the_walk_ends_in_a_row_and_what_is_told_of_its_tier(walked):
    place, said = walked
    assert "halfway conforms" in said["submit"] and "submission: submissions/two-halfway.json" in said["submit"]
    # `submit` has measured it in this folder, too, so that it has one row.
    told = "the same as measured here, in one row: Halfway (self-reported, by A. Author: two-halfway)"
    assert told in " ".join(said["leaderboard"].split())
    assert said["leaderboard"].count("Halfway  ") == 1
    assert told in (place / "runs/site/index.html").read_text()


def test_what_merges_again_gives_the_same_bits(walked):
    _, said = walked
    assert said["verify"].count("the same weights, bit for bit, the same predictions") == 2
    assert "experts: the same predictions" in said["verify"]
    assert "code, versions and machine are the same" in said["verify"]
    assert "the labels of all 2 tasks are this machine's" in said["verify"]
    assert re.search(r"^re-run here: average \d", said["verify"], re.MULTILINE)


def test_the_submission_says_what_the_method_is_and_what_it_gave(walked):
    fields = json.loads((walked[0] / "submissions/two-halfway.json").read_text())
    assert fields["code"]["text"] == IDEA and fields["code"]["function"] == "halfway"
    assert fields["method"]["hyperparameters"] == {"weight": 0.5} and fields["method"]["needs"] == ["base"]
    assert [run["seed"] for run in fields["results"]] == [0, 3]
    # It draws nothing at random.
    assert len({run["merged"] for run in fields["results"]}) == 1
    assert fields["submitter"] == {"author": "A. Author", "licence": "MIT", "implementation": "re-implementation"}


@pytest.fixture
def changed(walked, tmp_path, monkeypatch):
    """Copies the submission with a change to its fields; gives the JSON's path."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(walked[0] / "two.yaml", tmp_path)

    def copy(change) -> Path:
        for end in ("json", "npz"):
            shutil.copy(walked[0] / f"submissions/two-halfway.{end}", tmp_path)
        file = tmp_path / "two-halfway.json"
        fields = json.loads(file.read_text())
        change(fields)
        file.write_text(json.dumps(fields))
        return file

    return copy


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f["method"].update(needs=[]), r"method\.needs: \[\], but the card says \['base'\]"),
        (lambda f: f["method"].update(title="RegMean++"), r"method\.title: 'RegMean\+\+', but the card says 'Halfway'"),
        (lambda f: f["method"].update(hyperparameters={}), r"method\.hyperparameters\.weight: not what the method has"),
        (lambda f: f["code"].update(function="other"), r"code\.function: no one function 'other'"),
        (lambda f: f["benchmark"]["weights"].update(base="0" * 16), r"benchmark\.weights\.base: 0{16}, here \w{16}"),
        (lambda f: f["benchmark"]["data"].update({"digits/test": "0" * 16}), r"benchmark\.data\.digits/test: 0{16}"),
        (lambda f: f["benchmark"].update(merged=["digits"]), r"benchmark\.merged: the suite merges landcover, digits"),
        (lambda f: f["benchmark"]["conditions"].update(restrict={"blocks": 1}), r"benchmark\.conditions\.restrict"),
        (lambda f: f["benchmark"].update(suite="tiny-9"), r"benchmark\.suite: 'tiny-9', not 'two'"),
    ],
)  # fmt: skip
def test_what_the_benchmark_or_the_card_contradicts(command, changed, change, told):
    file = changed(change)
    done = command("verify", file, "--suite", "./two.yaml")
    assert done.status == 1 and "holds" not in done.out
    (line,) = done.err.splitlines()
    assert re.match(rf"mergebench: error: {re.escape(str(file))}: {told}", line)


def test_labels_that_are_not_the_test_splits(command, changed, walked):
    """Predictions copied into the labels hold by themselves."""
    import hashlib

    from mergebench.measuring.proof import count, write_predictions
    from mergebench.submissions.reading import read

    found = read(walked[0] / "submissions/two-halfway.json")
    perfect = {name: found.predictions["s0/digits"] for name in ("s0/digits", "s3/digits")}
    predictions = {**found.predictions, **perfect, "experts/digits": perfect["s0/digits"]}
    labels = {**found.labels, "digits": perfect["s0/digits"]}

    def forge(fields):
        for score in (fields["experts"]["digits"], *(run["tasks"]["digits"] for run in fields["results"])):
            score |= count(labels["digits"], labels["digits"])._asdict()
        fields["predictions"]["sha256"] = hashlib.sha256(beside.read_bytes()).hexdigest()

    beside = changed(lambda fields: None).with_suffix(".npz")
    write_predictions(beside, predictions, labels)
    content = beside.read_bytes()
    file = beside.with_suffix(".json")
    fields = json.loads(file.read_text())
    forge(fields)
    file.write_text(json.dumps(fields))
    assert beside.read_bytes() == content
    assert read(file)
    done = command("verify", file, "--suite", "./two.yaml")
    assert done.status == 1
    assert re.search(r"predictions\.labels/digits: \d+ of \d+ labels are not the test split's", done.err)


def test_predictions_copied_from_the_labels_are_found_by_running_the_code(command, changed, walked):
    import hashlib

    from mergebench.measuring.proof import count, write_predictions
    from mergebench.submissions.reading import read

    found = read(walked[0] / "submissions/two-halfway.json")
    file = changed(lambda fields: None)
    predictions = {**found.predictions, "s3/digits": found.labels["digits"]}
    write_predictions(file.with_suffix(".npz"), predictions, found.labels)
    fields = json.loads(file.read_text())
    fields["results"][1]["tasks"]["digits"] |= count(found.labels["digits"], found.labels["digits"])._asdict()
    fields["predictions"]["sha256"] = hashlib.sha256(file.with_suffix(".npz").read_bytes()).hexdigest()
    file.write_text(json.dumps(fields))
    assert command("verify", file, "--suite", "./two.yaml").status == 0
    # On another machine too, where a few may be others.
    fields["environment"]["packages"]["torch"] = "1.0"
    file.write_text(json.dumps(fields))
    done = command("verify", file, "--suite", "./two.yaml", "--run-code")
    assert done.status == 1 and "these differ: torch 1.0 and " in done.out
    assert re.search(r"predictions\.s3/digits: \d+ of \d+ are others than measured here; \d+ may be", done.err)


def test_code_is_run_only_where_that_is_said(command, changed, tmp_path):
    """The code says what it is told to be in its card, and does something else as well."""
    mark = tmp_path / "it-ran"
    text = f"open({str(mark)!r}, 'w').close()\nraise SystemExit(3)\n" + IDEA

    def hostile(fields):
        import hashlib

        fields["code"] |= {"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}

    file = changed(hostile)
    assert command("verify", file, "--suite", "./two.yaml").status == 0
    assert not mark.exists()
    command("leaderboard", "--submissions", tmp_path, "--out", tmp_path / "none")
    assert not mark.exists()
    done = command("verify", file, "--suite", "./two.yaml", "--run-code")
    assert done.status == 1 and mark.exists()
    assert "merging seed 0 failed" in done.err and len(done.err.splitlines()) == 1


def test_code_without_end_is_ended(command, changed):
    import hashlib

    text = "import time\nwhile True: time.sleep(0.1)\n" + IDEA

    def endless(fields):
        fields["code"] |= {"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}

    done = command("verify", changed(endless), "--suite", "./two.yaml", "--run-code", "--timeout", 1)
    assert done.status == 1 and "merging seed 0 took more than 1 s and was ended" in done.err


def test_a_suite_that_is_not_here_is_told(command, changed):
    done = command("verify", changed(lambda fields: fields["benchmark"].update(suite="nowhere")))
    assert done.status == 0
    assert "only to its own labels: no suite 'nowhere' here; name its file with --suite" in done.out
    assert "holds by itself alone" in done.out
    done = command("verify", changed(lambda fields: fields["benchmark"].update(version=2)), "--suite", "./two.yaml")
    assert done.status == 0 and "it is of two v2, and here is v1" in done.out


def test_what_is_not_all_here_is_not_run(command, changed):
    file = changed(lambda fields: fields["benchmark"].update(suite="nowhere"))
    done = command("verify", file, "--run-code")
    assert done.status == 2 and "no suite 'nowhere' here; name its file with --suite" in done.out
    assert done.err == (
        f"mergebench: error: {file}: cannot be run here, see above; have that too, or leave --run-code out\n"
    )


def test_several_are_verified_and_each_is_told(command, changed, tmp_path):
    file = changed(lambda fields: None)
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    done = command("verify", broken, file, "--suite", "./two.yaml")
    assert done.status == 1 and "1 of 2 submissions hold" in done.out and "broken.json: not JSON" in done.err
    assert command("verify", tmp_path / "nothing.json").status == 2


def test_what_cannot_be_submitted_is_refused_before_the_run(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(SUITE))
    (tmp_path / "helper.py").write_text("HALF = 0.5\n")
    (tmp_path / "mine.py").write_text("from helper import HALF\n" + IDEA.replace("= 0.5)", "= HALF)"))
    (tmp_path / "odd.py").write_text(IDEA.replace('title="Halfway"', 'title="<b>Halfway</b>"'))
    at = ["--suite", "./two.yaml", "--output", "new"]
    assert "mine.py imports helper.py, but a submission holds one file" in refused("submit", "./mine.py", *at)
    assert "cannot be submitted: method.title: holds '<'" in refused("submit", "./odd.py", *at)
    assert "submitter.author: begins with '='" in refused("submit", "average", *at, "--author", "=1+1")
    assert "'finetuned' is a reference" in refused("submit", "finetuned", *at)
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(SUITE | {"prefixes": [1, 2]}))
    assert "suite 'both' has several variants" in refused("submit", "average", "--suite", "./both.yaml")
    assert not list(tmp_path.glob("new/*")) and not list(tmp_path.glob("runs/**/*.json"))


def test_a_method_that_does_not_conform_is_not_submitted(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(SUITE))
    (tmp_path / "mine.py").write_text(IDEA.replace("needs=Needs(base=True)", "needs=Needs(base=True, heads=True)"))
    done = command("submit", "./mine.py", "--suite", "./two.yaml")
    assert done.status == 1 and "not submitted: halfway does not keep what every method must" in done.out
    assert not (tmp_path / "submissions").exists() or not list((tmp_path / "submissions").iterdir())

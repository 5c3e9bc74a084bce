"""A folder of submissions: its log says how far each file is held to, and nothing else does."""

import hashlib
import os
import shutil

import pytest

from mergebench.errors import MergebenchError
from mergebench.submissions import accepted
from mergebench.submissions.accepted import COLUMNS, TIERS, listed

HEAD = ",".join(COLUMNS)


@pytest.fixture
def log(submission):
    """Writes the submission, and a log with these lines; `DIGEST` in them is the file's."""

    def write(*lines: str):
        digest = hashlib.sha256(submission.write().read_bytes()).hexdigest()
        text = "\n".join([HEAD, *lines]).replace("DIGEST", digest) + "\n"
        (submission.folder / "log.csv").write_text(text)
        return submission.folder

    return write


def test_without_a_log_all_are_self_reported(submission):
    submission.write()
    results, told = listed(submission.folder)
    assert told == [] and [r.seed for r in results] == [0, 1]
    assert {r.listing for r in results} == {("sub", "A. Author", "self-reported")}
    correct = submission.fields["results"][0]["tasks"]["digits"]["correct"]
    assert results[0].tasks["digits"].correct == correct
    assert int(results[0].hits()["digits"].sum()) == correct
    assert results[0].tasks["digits"].expert_correct == submission.fields["experts"]["digits"]["correct"]


@pytest.mark.parametrize("tier", TIERS)
def test_the_last_line_of_a_file_says_its_tier(log, tier):
    folder = log("2026-01-01,sub.json,DIGEST,self-reported,listed", f"2026-01-02,sub.json,DIGEST,{tier},run again")
    assert {r.listing.tier for r in listed(folder)[0]} == {tier}


def test_a_file_that_changed_since_its_line_is_left_out(log, submission):
    folder = log("2026-01-01,sub.json,DIGEST,re-run here,listed")
    submission.fields["submitter"]["author"] = "Somebody Else"
    submission.write()
    results, told = listed(folder)
    assert results == [] and len(told) == 1 and "log.csv says sha256" in told[0] and "add a line" in told[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2026-01-01,sub.json,DIGEST,best of all,listed", "tier: 'best of all' is none of"),
        ("2025-12-31,sub.json,DIGEST,self-reported,listed", "is before the line above"),
        ("20260101,sub.json,DIGEST,self-reported,listed", "date: '20260101' is none; write YYYY-MM-DD"),
        ("2026-W01-1,sub.json,DIGEST,self-reported,listed", "date: '2026-W01-1' is none"),
        ("yesterday,sub.json,DIGEST,self-reported,listed", "date: 'yesterday' is none"),
        ("2026-01-01,../sub.json,DIGEST,self-reported,listed", "file: '../sub.json' is no submission's name"),
        ("2026-01-01,sub.json,1234,self-reported,listed", "sha256: not 64 hex digits"),
        ("2026-01-01,sub.json,DIGEST,self-reported,", "change: say what changed"),
        ("2026-01-01,sub.json,DIGEST,self-reported,=1+1", "change: it begins with '='"),
        ("2026-01-01,sub.json,DIGEST", "3 columns, not 5"),
    ],
)
def test_a_line_that_says_nothing_of_the_kind(log, line, told):
    with pytest.raises(MergebenchError, match="log.csv:3: ") as caught:
        listed(log("2026-01-01,sub.json,DIGEST,self-reported,listed", line))
    assert told in str(caught.value)


def test_a_file_that_does_not_hold_costs_its_own_row(submission):
    submission.write()
    (submission.folder / "other.json").write_text("{}")
    results, told = listed(submission.folder)
    assert len(results) == 2 and len(told) == 1 and "other.json is left out: " in told[0]


def test_what_its_reader_stumbles_over_costs_its_own_row(submission, monkeypatch):
    submission.write()
    whole = accepted.read

    def stumbling(file):
        return whole(file) if file.name == "sub.json" else [][0]

    (submission.folder / "other.json").write_text("{}")
    monkeypatch.setattr(accepted, "read", stumbling)
    results, told = listed(submission.folder)
    assert len(results) == 2 and len(told) == 1 and "other.json is left out: it cannot be read (IndexError" in told[0]


def test_a_folder_of_more_predictions_than_can_be_held(submission, monkeypatch):
    submission.write()
    for end in (".json", ".npz"):
        shutil.copy(submission.path.with_suffix(end), submission.folder / f"tub{end}")
    monkeypatch.setattr(accepted, "IDS", 200)
    results, told = listed(submission.folder)
    assert len(results) == 2 and "tub.json and those behind it are left out: 200 predictions" in told[0]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_a_log_that_is_no_file_is_not_taken_for_none(submission, make):
    submission.write()
    make(submission.folder / "log.csv")
    with pytest.raises(MergebenchError, match=r"log\.csv is no file"):
        listed(submission.folder)


def test_a_log_with_a_mark_before_it(log):
    folder = log("2026-01-01,sub.json,DIGEST,self-reported,listed")
    (folder / "log.csv").write_text((folder / "log.csv").read_text(), encoding="utf-8-sig")
    with pytest.raises(MergebenchError, match=r"log\.csv:1: the columns are .*, in UTF-8 without a mark before them"):
        listed(folder)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(MergebenchError, match="no folder of submissions"):
        listed(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"date,\xff", r"'utf-8' codec can't decode byte 0xff in position 5"),
        (b'date,"file\n', "unexpected end of data"),
        (b"date," + b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_a_log_that_is_no_table_of_text(submission, content, told):
    submission.write()
    (submission.folder / "log.csv").write_bytes(content)
    with pytest.raises(MergebenchError, match=rf"log\.csv cannot be read \({told}.*\); it is to be CSV in UTF-8"):
        listed(submission.folder)


def test_a_log_that_is_too_long_is_not_read(submission):
    submission.write()
    with (submission.folder / "log.csv").open("wb") as file:
        file.truncate(accepted.LOG_BYTES + 1)
    with pytest.raises(MergebenchError, match=r"log\.csv has more than 10,000,000 bytes; put the folder's log there"):
        listed(submission.folder)

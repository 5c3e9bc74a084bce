"""`compare` on results that a run has stored."""

from mergebench.measuring.results import ResultStore


def test_two_methods_of_a_run_are_compared_and_drawn(mini_run, command):
    done = command("compare", "regmean", "average", "--out", mini_run)
    assert done.status == 0
    lines = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    results = {r.method: r for r in ResultStore(mini_run).all()}
    for task in ("landcover", "digits"):
        shares = [f"{100 * results[m].tasks[task].accuracy:.1f}" for m in ("regmean", "average")]
        assert lines[task][1:3] == shares
        alone, others = map(int, lines[task][7:9])
        counts = [results[m].tasks[task].correct for m in ("regmean", "average")]
        assert alone - others == counts[0] - counts[1]
    as_printed = command("compare", "RegMean", "Simple-Averaging", "--out", mini_run, "--suite", "MINI.yaml")
    assert as_printed.out == done.out
    (picture,) = (mini_run / "compare").iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG") and str(picture) in done.out + done.err


def test_what_cannot_be_compared_is_refused_in_a_line(mini_run, refused, tmp_path):
    assert "unknown method on this board: 'regmen'" in refused("compare", "regmen", "average", "--out", mini_run)
    assert "are one row" in refused("compare", "average", "average", "--out", mini_run)
    ours = ("compare", "average", "regmean", "--out", mini_run)
    assert f"--seeds 7: results in {mini_run} are of 0" in refused(*ours, "--seeds", 7)
    assert "no results of suite 'tiny-8' in" in refused(*ours, "--suite", "tiny-8")
    assert "no results of zoo 'tiny-lora' in" in refused(*ours, "--zoo", "tiny-lora")
    assert "no row of the tuned track, but of: published" in refused(*ours, "--track", "tuned")
    assert "no results of step '3' in" in refused(*ours, "--only", "step=3")
    assert "no results in" in refused("compare", "average", "regmean", "--out", tmp_path)
    assert "write AXIS=VALUE" in refused("compare", "average", "regmean", "--out", mini_run, "--only", "x")


def test_results_of_studies_alone_are_no_board(mini_run, refused, monkeypatch):
    studied = [r.model_copy(update={"study": "s"}) for r in ResultStore(mini_run).all()]
    monkeypatch.setattr("mergebench.cli.showing.read", lambda store: (studied, []))
    told = refused("compare", "average", "regmean", "--out", mini_run)
    assert f"{mini_run} has results of studies alone" in told


def test_where_nothing_may_be_written_the_numbers_are_told_all_the_same(mini_run, command, tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("cells", "compare"):  # a file in the place of the pictures' folder
        place = tmp_path / "runs" / name
        place.write_text("") if name == "compare" else place.symlink_to(mini_run / name)
    done = command("compare", "average", "regmean", "--out", tmp_path / "runs")
    assert done.status == 0 and "not drawn: cannot write" in done.out and "p, Holm" in done.out


def test_of_a_folder_of_what_is_no_result_the_reasons_are_told_before_the_remedy(command, tmp_path):
    (tmp_path / "cells" / "two").mkdir(parents=True)
    (tmp_path / "cells" / "two" / "mine-s0-0.json").write_text("{}")
    told = [command(*verb, "--out", tmp_path) for verb in (("compare", "a", "b"), ("table",), ("leaderboard",))]
    assert len({done.err for done in told}) == 1 and not any(done.out for done in told)
    assert "mine-s0-0.json is set aside" in told[0].err and f"no results in {tmp_path}" in told[0].err

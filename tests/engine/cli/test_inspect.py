"""`inspect` on the tiny zoo: what it prints is what its files hold, and what it cannot look at is refused."""

import csv
import re


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tasks_of_a_zoo_are_looked_at(command, tmp_path):
    done = command("inspect", "--tasks", "digits", "house-numbers", "--output", tmp_path)
    assert done.status == 0
    told = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    cosine = next(r for r in rows(tmp_path / "cosines.csv") if r["part"] == "all")
    assert told["digits"][2] == told["house-numbers"][2] == f"{float(cosine['cosine']):.3f}"
    sizes = {r["model"]: float(r["of_base"]) for r in rows(tmp_path / "depth.csv") if r["part"] == "all"}
    assert told["digits"][1] == f"{100 * sizes['digits']:.2f}"
    # Both are trained to read numerals, so they move alike; signs of entries agree by chance but for that.
    assert float(cosine["cosine"]) > 0.05
    assert re.search(r"^all .* 4\d\.\d %$", done.out, re.MULTILINE)
    assert (tmp_path / "inspect.png").read_bytes().startswith(b"\x89PNG")


def test_a_merged_model_is_held_to_each_task(command, tmp_path):
    merged = tmp_path / "merged.safetensors"
    tasks = ("digits", "signs")
    assert command("merge", "--method", "average", "--suite", "tiny-8", "--output", merged).status == 0
    done = command("inspect", "--tasks", *tasks, "--merged", merged, "--output", tmp_path / "out")
    assert done.status == 0
    line = next(line for line in done.out.splitlines() if line.startswith("merged:"))
    found = {
        r["other"]: float(r["cosine"])
        for r in rows(tmp_path / "out/cosines.csv")
        if (r["part"], r["one"]) == ("all", "merged")
    }
    assert line.endswith(", ".join(f"{task} {found[task]:.2f}" for task in tasks))
    assert all(0.2 < found[task] < 0.6 for task in tasks), "one of eight vectors at nearly right angles: 1 / sqrt(8)"


def test_what_cannot_be_looked_at_is_refused_in_a_line(refused, tmp_path):
    out = ("--output", tmp_path / "out")
    assert "did you mean 'digits'" in refused("inspect", "--tasks", "digit", *out)
    assert "digits is named twice" in refused("inspect", "--tasks", "digits", "digits", *out)
    assert "none.safetensors" in refused(
        "inspect", "--tasks", "digits", "--merged", tmp_path / "none.safetensors", *out
    )
    (tmp_path / "file").write_text("x")
    assert "file" in refused("inspect", "--tasks", "digits", "--output", tmp_path / "file")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_the_way_between_two_models_is_evaluated(command, refused, tmp_path):
    tasks = ("--tasks", "digits", "signs", "--output", tmp_path)
    done = command("inspect", *tasks, "--path", "base", "digits", "--points", 3)
    assert done.status == 0
    path = rows(tmp_path / "path.csv")
    assert [r["share_of_digits"] for r in path] == ["0", "0.5", "1"]
    line = [100 * float(r["digits"]) for r in path]
    told = re.findall(r"^digits +(\S+) +(\S+) +(\S+) +(\S+)$", done.out, re.MULTILINE)[-1]
    barrier = max(0, (line[0] + line[2]) / 2 - line[1])
    assert [float(x) for x in told] == [round(x, 1) for x in (line[0], line[2], min(line), barrier)]
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")
    assert "say which model that is, --merged FILE" in refused("inspect", *tasks, "--path", "base", "merged")
    assert "scenes is not among the tasks" in refused("inspect", *tasks, "--path", "base", "scenes")
    assert "--points 1: a path has two ends" in refused("inspect", *tasks, "--path", "base", "digits", "--points", 1)


def test_in_a_run_s_folder_it_is_shown_on_its_pages(command, refused, mini_suite, tmp_path):
    runs = tmp_path / "runs"
    assert command("run", "--methods", "average", "--suite", mini_suite, "--out", runs, "--device", "cpu").status == 0
    tasks = ("--tasks", "digits", "landcover", "--path", "base", "digits", "--points", 2)
    done = command("inspect", *tasks, "--out", runs)
    assert done.status == 0 and f"mergebench leaderboard --out {runs}" in done.out, done
    assert (runs / "inspect/tiny/cosines.csv").is_file() and (runs / "inspect/tiny/path.csv").is_file()
    done = command("leaderboard", "--out", runs)
    page = (runs / "site/index.html").read_text()
    assert done.status == 0 and "task vectors of tiny" in page and page.count('<figure class="panel">') == 7
    assert "2 task vectors" in page and "in a straight line" in page
    assert "leave one of the two out" in refused("inspect", *tasks, "--out", runs, "--output", tmp_path / "x")

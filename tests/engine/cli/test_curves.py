"""merge --logger: what a method that learns tells of its steps, and the same weights as without."""

import csv

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mergebench.merging.reports import log_step, logged_by


def rows(folder):
    """The curve that was written."""
    (file,) = folder.rglob("metrics.csv")
    return list(csv.DictReader(file.open()))


@pytest.mark.parametrize(
    ("method", "settings", "names", "steps"),
    [
        ("adamerging", ["steps=3"], {"entropy"}, 3),
        ("prodistill", ["steps=2", "samples=8"], {"error_before", "error_after"}, 5),  # of each block
        ("wudi", ["steps=2"], {"loss_before", "loss_after"}, None),
    ],
)
def test_what_learns_writes_its_curve_and_merges_as_without(
    mini_suite, command, tmp_path, method, settings, names, steps
):
    arguments = ("merge", "--method", method, "--suite", mini_suite, "--set", *settings, "--output")
    assert command(*arguments, tmp_path / "plain.safetensors").status == 0
    done = command(*arguments, tmp_path / "logged.safetensors", "--logger", "csv", "--log-folder", tmp_path / "logs")
    assert done.status == 0 and f"logged with csv in {tmp_path / 'logs' / 'logged'}" in done.out
    plain, logged = (load_file(tmp_path / f"{name}.safetensors") for name in ("plain", "logged"))
    assert all(torch.equal(plain[name], logged[name]) for name in plain)
    curve = rows(tmp_path / "logs")
    assert steps is None or len(curve) == steps
    assert all(float(row[name]) >= 0 for row in curve for name in names)
    if len(names) == 2:
        before, after = (
            sum(float(row[f"{what}_{when}"]) for row in curve)
            for what in {n.split("_")[0] for n in names}
            for when in ("before", "after")
        )
        assert after < before


def test_of_what_takes_no_steps_it_is_said(mini_suite, command, tmp_path):
    output = tmp_path / "merged.safetensors"
    options = ("--logger", "csv", "--log-folder", tmp_path / "logs")
    done = command("merge", "--method", "average", "--suite", mini_suite, "--output", output, *options)
    assert done.status == 0 and output.is_file()
    assert "'average' tells nothing of any steps" in done.err and "logged with" not in done.out


def test_a_logger_that_is_not_there_is_refused_before_the_merge(mini_suite, refused, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    output = tmp_path / "merged.safetensors"
    line = refused("merge", "--method", "wudi", "--suite", mini_suite, "--output", output, "--logger", "mlflow")
    assert "pip install mlflow" in line and not output.exists()


def test_without_a_logger_no_tensor_is_read():
    class Device(nn.Parameter):
        """A tensor whose values are waited for."""

        def __float__(self):
            raise AssertionError("read")

    value = Device(torch.zeros(()))
    log_step(0, {"loss": value})
    with pytest.raises(AssertionError, match="read"), logged_by(lambda step, values: None):
        log_step(0, {"loss": value})


def test_what_is_logged_inside_goes_to_the_innermost():
    outer, inner = [], []
    with logged_by(lambda step, values: outer.append((step, values))):
        with logged_by(lambda step, values: inner.append((step, values))):
            log_step(1, {"loss": torch.tensor(2.0)})
        log_step(2, {"loss": 3})
    log_step(3, {"loss": 4.0})
    assert inner == [(1, {"loss": 2.0})] and outer == [(2, {"loss": 3.0})]

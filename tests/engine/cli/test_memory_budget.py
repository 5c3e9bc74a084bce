"""`--memory`: what cannot fit is refused before any work, what can keeps to it, and results do not depend on it."""

import re

import pytest
from safetensors.torch import load_file


@pytest.mark.parametrize("memory", ["8bananas", "0GB", ""])
def test_no_amount_of_memory(command, mini_suite, tmp_path, memory):
    done = command("run", "--methods", "average", "--suite", mini_suite, "--memory", memory, "--out", tmp_path / "runs")
    assert done.status == 2
    assert "is no amount of memory; write it as 8GB" in done.err
    assert not (tmp_path / "runs").exists()


def test_a_method_that_cannot_fit_is_refused_with_the_estimate(command, mini_suite, tmp_path):
    out = tmp_path / "runs"
    done = command("run", "--methods", "adamerging", "--suite", mini_suite, "--memory", "50MB", "--out", out)
    assert done.status == 2
    told = re.search(r"adamerging would take about (\d+\.\d) GB for 2 experts \(T experts, 5 models", done.err)
    assert told and float(told[1]) > 0.05
    assert "--memory allows 0.1 GB" in done.err
    assert not out.exists()


def test_of_many_methods_those_are_left_out_and_told(command, mini_suite, tmp_path):
    arguments = ["--suite", mini_suite, "--out", tmp_path / "runs", "--dry-run"]
    none = command("run", "--methods", "data-free", "--memory", "50MB", *arguments)
    assert none.status == 0, none
    assert "ties is left out: ties would take about" in none.out
    every = command("run", "--methods", "data-free", "--memory", "500GB", *arguments)
    assert "would take" not in every.out


def test_merge_refuses_before_it_reads_images(command, mini_suite, tmp_path):
    output = tmp_path / "merged.safetensors"
    done = command("merge", "--method", "regmean++", "--suite", mini_suite, "--memory", "50MB", "--output", output)
    assert done.status == 2
    assert "regmean++ would take about" in done.err
    assert not output.exists()


def test_a_merge_within_its_budget_gives_the_same(command, mini_suite, tmp_path):
    def merged(*more):
        output = tmp_path / f"merged-{len(more)}.safetensors"
        done = command("merge", "--method", "regmean++", "--suite", mini_suite, *more, "--output", output)
        assert done.status == 0, done
        return load_file(output)

    free, held = merged(), merged("--memory", "100GB")
    assert all((free[name] == held[name]).all() for name in free)

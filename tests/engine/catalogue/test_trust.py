"""What may name code, and where a package's folder is without its code being run."""

import sys
from pathlib import Path

import pytest

from mergebench.catalogue.modules import folder_of
from mergebench.catalogue.trust import check_encoder, check_methods, is_installed, method_files
from mergebench.errors import MergebenchError
from mergebench.weights.encoders import Encoder
from mergebench.zoo.zoo_files import folder_at

TINY = "mergebench.tasks.tiny.model:create_encoder"


def test_names_in_timm_and_encoders_of_registered_zoos_need_no_trust():
    assert is_installed("vit_base_patch32_clip_224") and is_installed(TINY)
    for encoder in (Encoder("vit_small_patch16_224"), Encoder(TINY)):
        assert check_encoder(encoder, "config.json", "name it") is encoder


@pytest.mark.parametrize("name", ["os:abort", "mergebench.tasks.tiny.model:other", "hf-hub:some/model", ":", "a.b:c"])
def test_other_code_that_a_file_names_is_refused(name):
    with pytest.raises(MergebenchError, match=f"^config.json says that {name} makes its encoder; .*, name it$"):
        check_encoder(Encoder(name), "config.json", "name it")


def test_methods_files_are_found_wherever_they_are_named():
    fields = {
        "methods": ["all", "./a.py", "b.py:f"],
        "hyperparameters": {"svc": {"start": "c.py:f", "start_settings": {"start": "d.py:f"}, "alpha": 1}},
        "points": {"x": {"methods": ["a.py"], "hyperparameters": {"start": ("e.py", "ties")}}},
        "vary": {"start": ["f.py", None, 3.5], "blocks": "each"},
        "title": "g.py",
    }
    assert method_files(fields) == ["./a.py", "b.py:f", *("c.py:f", "d.py:f", "f.py", "a.py", "e.py")]
    assert method_files(fields, ["methods"]) == ["./a.py", "b.py:f"]


def test_methods_files_are_refused_by_name_unless_they_are_allowed():
    named = {"suite 'a'": [], "zoo 'b'": ["x.py", "y.py:f"]}
    with pytest.raises(MergebenchError, match="^zoo 'b' names code, x.py, y.py:f, which .* give --allow-code$"):
        check_methods(named, allowed=False)
    check_methods(named, allowed=True)
    check_methods({"suite 'a'": []}, allowed=False)


def test_a_package_s_folder_is_found_and_its_code_not_run(tmp_path, monkeypatch):
    inner = tmp_path / "outer_package" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text("raise SystemExit('run')")
    (inner / "module.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert folder_at("outer_package.inner:weights", Path("elsewhere")) == inner / "weights"
    assert folder_of("outer_package.inner.module") == inner and folder_of("outer_package") == inner.parent
    assert not {name for name in sys.modules if name.startswith("outer_package")}


def test_folders_of_installed_packages_are_found_as_importing_them_would():
    import mergebench.tasks.tiny
    import mergebench.weights

    for package in (mergebench.tasks.tiny, mergebench.weights):
        assert folder_of(package.__name__) == Path(package.__file__).parent


@pytest.mark.parametrize("package", ["no_such", "mergebench.no_such", "os.path.more", "sys", "", ".a", "a..b", "../a"])
def test_what_has_no_folder_is_refused(package):
    with pytest.raises(MergebenchError, match=": no package .*; write a path, or package:path$"):
        folder_at(f"{package}:weights", Path())

"""The documentation's site: it builds without a warning, asks nothing of other machines, and has a page for all."""

import re
import sys
from pathlib import Path
from subprocess import run
from urllib.parse import unquote

import pytest

from mergebench.catalogue import registry
from mergebench.cli.verbs import VERBS

pytest.importorskip("material", reason="the site needs mkdocs-material: pip install -e '.[dev]'")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.long
def test_whatever_is_registered_has_a_page_that_describes_it(site):
    kinds = {"methods": registry.methods(), "tasks": registry.tasks(), "corruptions": registry.corruptions()}
    kinds |= {kind: registry.config_files(kind) for kind in ("suites", "studies", "zoos")}
    for kind, names in kinds.items():
        for name in names:
            text = (site / "reference" / kind / f"{name}.html").read_text(encoding="utf-8")
            assert f"{name}: " in text, name
    for verb in VERBS:
        assert f"usage: mergebench {verb}" in (site / f"reference/verbs/{verb}.html").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_tables_names_lead_to_their_pages(site):
    assert 'href="reference/methods/regmean%2B%2B.html"' in (site / "methods.html").read_text(encoding="utf-8")
    assert 'href="reference/studies/ridge.html"' in (site / "suites.html").read_text(encoding="utf-8")


def test_every_link_leads_to_a_page(site):
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not target.startswith(("http:", "https:", "mailto:", "/")):
                assert (page.parent / unquote(target)).exists(), f"{page.name}: {target}"


def test_no_page_asks_another_machine_for_anything(site):
    loaded = re.compile(r'<(?:script|img|iframe|source)[^>]+src="?(?:https?:)?//|<link[^>]+href="?(?:https?:)?//')
    for page in site.rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_public_names_are_all_in_the_reference(site):
    import mergebench

    text = (site / "reference/api.html").read_text(encoding="utf-8")
    named = set(re.findall(r'id="mergebench\.(?:\w+\.)+(\w+)"', text))
    assert set(mergebench.__all__) - {"StateDict"} <= named  # a type's name for a dictionary

"""What `inspect` left in runs' folders is a section of the first page; what cannot be shown is told and left out."""

import io
import json
import re
import shutil

import pytest
from PIL import Image

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.site import inspections as module
from mergebench.leaderboard.site.inspections import read_inspections
from mergebench.leaderboard.site.write import write_site

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 40), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def inspected(out, place="z", **changed):
    """Writes one of two pictures as `inspect` would."""
    folder = out / "inspect" / place
    folder.mkdir(parents=True)
    words = {"title": "angles", "caption": "How it is read.", "alt": "From 0.1 (a and b) to 0.3 (a and c)."}
    pictures = [{"name": name, **words} for name in ("angles", "sizes")]
    for name in ("angles", "sizes"):
        (folder / f"{name}.png").write_bytes(png(255))
        (folder / f"{name}-dark.png").write_bytes(png(20))
    facts = {"schema_version": 1, "zoo": place, "title": "A zoo", "tasks": ["a", "b"], "merged": ""}
    facts |= {"header": ["task", "overlap"], "rows": [["a", "0.5"], ["b", "0.25"]], "pictures": pictures}
    (folder / "inspect.json").write_text(json.dumps(facts | changed))
    return folder


@pytest.fixture
def shown(results, known, tmp_path):
    """Writes the site of what lies in a run's folder; gives the first page."""

    def write(out):
        found, told = read_inspections([out])
        assert told == []
        return write_site(make_boards(r for r in results if not r.point), tmp_path / "site", (), known, found)

    return write


def test_pictures_stand_on_the_page_for_light_and_for_dark(shown, tmp_path):
    inspected(tmp_path)
    page = shown(tmp_path)
    text = page.read_text()
    section = text[text.index('<section class="view" id="inspect--z"') :]
    sources = re.findall(r'srcset="([^"]+)" media="\(prefers-color-scheme: dark\)"', section)
    images = re.findall(r'<img src="([^"]+)" alt="([^"]+)" width="64" height="40"', section)
    assert len(sources) == len(images) == 2 and {alt for _, alt in images} == {"From 0.1 (a and b) to 0.3 (a and c)."}
    assert [(page.parent / place).read_bytes() for place in sources] == [png(20)] * 2
    assert [(page.parent / place).read_bytes() for place, _ in images] == [png(255)] * 2
    assert section.count("<figcaption>How it is read.</figcaption>") == 2 and "Accuracies in %" not in section
    assert 'href="#inspect--z"' in text and "task vectors of z" in text and "A zoo: 2 task vectors." in section
    assert re.search(r'<th scope=row class="name"[^>]*>\s*b\s*</th>\s*<td class="number" data-order="0.25"', section)
    shutil.rmtree(tmp_path / "inspect")
    page = shown(tmp_path)  # as it is no more among what was found
    assert "inspect--z" not in page.read_text() and not list((page.parent / "pictures").glob("inspect*"))


def test_other_people_s_texts_stay_texts(shown, tmp_path):
    words = [{"name": "angles", "title": HOSTILE, "caption": HOSTILE, "alt": HOSTILE + '" onload="x'}]
    inspected(tmp_path, "h", title=HOSTILE, pictures=words, rows=[[HOSTILE, "1"], ["b", HOSTILE]])
    page = shown(tmp_path)
    for path in (page, *page.parent.glob("data/*.js")):
        assert "<img src=x" not in path.read_text() and "<script>alert" not in path.read_text()
    assert '" onload="x' not in page.read_text()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"schema_version": 2}, "schema_version: "),
        ({"pictures": [{"name": "../../secret", "title": "", "caption": "", "alt": ""}]}, "pictures.0.name: "),
        ({"pictures": [{"name": "none", "title": "", "caption": "", "alt": ""}]}, "none.png: No such file"),
        ({"rows": [["a"]]}, "one is not as long as the header"),
        ({"zoo": ""}, "zoo: "),
        ({"tasks": "a"}, "tasks: "),
    ],
)
def test_what_does_not_hold_is_told_and_left_out(tmp_path, changed, told):
    inspected(tmp_path, "well")
    inspected(tmp_path, "odd", **changed)
    found, sentences = read_inspections([tmp_path])
    assert [one.facts.zoo for one in found] == ["well"]
    assert len(sentences) == 1 and told in sentences[0] and "make it again: mergebench inspect" in sentences[0]


def test_files_that_are_no_pictures_or_too_large_are_left_out(tmp_path, monkeypatch):
    (inspected(tmp_path, "a") / "sizes-dark.png").write_bytes(b"<svg onload=alert(1)>")
    (inspected(tmp_path, "b") / "inspect.json").write_text("[" * 100_000)
    (inspected(tmp_path, "c") / "inspect.json").unlink()  # one that was broken off
    found, told = read_inspections([tmp_path])
    assert found == [] and len(told) == 2 and "sizes-dark.png is no PNG picture" in told[0]
    inspected(tmp_path, "d")
    monkeypatch.setattr(module, "LARGEST", 20)
    assert "has more than 20 bytes" in read_inspections([tmp_path])[1][-1]


def test_of_a_zoo_that_several_folders_have_the_first_is_shown(tmp_path):
    for run in ("one", "two"):
        inspected(tmp_path / run, title=run)
    found, _ = read_inspections([tmp_path / "two", tmp_path / "one"])
    assert [one.facts.title for one in found] == ["two"]
    assert read_inspections([tmp_path / "none"]) == ([], [])


def test_a_browser_shows_the_picture_of_its_colours(shown, browser, tmp_path):
    inspected(tmp_path)
    page = shown(tmp_path)
    for scheme, dark in (("light", False), ("dark", True)):
        context = browser.new_context(color_scheme=scheme)
        opened = context.new_page()
        faults = []
        opened.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
        opened.goto(page.as_uri() + "#inspect--z")
        opened.wait_for_selector("html[data-ready='inspect--z']")
        used = opened.eval_on_selector_all("#inspect--z img", "images => images.map(i => i.currentSrc)")
        assert len(used) == 2 and all(("-dark-" in source) == dark for source in used) and faults == []
        assert opened.locator("#inspect--z tbody tr").count() == 2
        context.close()

"""Take the picture of the leaderboard's page that README shows.

Usage: python benchmarks/page_picture.py runs      # a folder of results with its site; needs Chromium
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PLACE = Path(__file__).parent.parent / "docs/page.png"
SIZE = {"width": 1280, "height": 760}
COLOURS = 64  # of text and flat tints more are not seen, and the file is a third as large


def main() -> None:
    """Open the page as it is opened from disk, and write what is seen first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of results")
    page_file = (parser.parse_args().out / "site/index.html").resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(page_file.as_uri())
        page.wait_for_selector("table")
        page.wait_for_timeout(500)  # until the board's data are drawn
        picture = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(PLACE, optimize=True)


if __name__ == "__main__":
    main()

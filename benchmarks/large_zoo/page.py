"""Put the kept runs into docs/real-size.md, between the marks that name them, and draw its pictures.

python benchmarks/large_zoo/page.py
"""

import argparse
import json
import re
from functools import lru_cache
from pathlib import Path

from draw import Kept, draw

from mergebench.catalogue import registry
from mergebench.merging.budget import Sizes, wanted
from mergebench.merging.layout import Layout
from mergebench.weights.encoders import Encoder

DOCS = Path(__file__).parents[2] / "docs"


def short(encoder: str) -> str:
    """timm's name of a CLIP as people say it: "ViT-B/32"."""
    found = re.match(r"vit_(\w)\w*_patch(\d+)_clip", encoder)
    return f"ViT-{found[1].upper()}/{found[2]}" if found else encoder


def cell(run: Kept | None, measure: str, digits: int) -> str:
    """A number; how far a run came that was ended; "-" for what is not measured."""
    if run is None or run.get(measure) is None or run["ended"].startswith("failed"):
        return "-"
    return ("> " if run["ended"] and measure != "estimate" else "") + f"{run[measure]:.{digits}f}"


@lru_cache
def sizes(encoder: str) -> Sizes:
    """A model's, of which experts are stored in float16."""
    model = Encoder(encoder).make()
    return Sizes.of(Layout(model), {name: tensor.half() for name, tensor in model.state_dict().items()})


def estimate(run: Kept) -> float:
    """What `--memory` takes a merge to hold, in models of float32."""
    known = sizes(run["encoder"])
    return wanted([registry.method(run["method"])], run["experts"], known) / known.models


def amounts(run: Kept, along: str) -> str:
    """How few steps and images these seconds are of."""
    words = {"shift_steps": "steps of the shift", "steps": "steps", "samples": "images", "batch_size": "images a step"}
    told = {said: run["settings"][name] for name, said in words.items() if name in run["settings"]}
    varied = "images" if along == "images" else "nothing"
    return ", ".join(f"{count} {said}" for said, count in told.items() if not said.startswith(varied))


def table(runs: list[Kept], along: str) -> str:
    """A line for each method, peaks and estimates in models, then processor seconds; and why some lack."""
    values = sorted({run[along] for run in runs})
    short_label = {"experts": "T", "images": "N"}[along]
    measures = ("models", "by the card", "processor seconds")
    heads = " | ".join(f"{words}, {short_label} = {', '.join(map(str, values))}" for words in measures)
    lines = [f"| method | {heads} | of |", "|---|---:|---:|---:|---|"]
    lacking: list[str] = []
    for name in registry.methods():
        own = {run[along]: run | {"estimate": estimate(run)} for run in runs if run["method"] == name}
        if not own:
            continue
        digits = {"models": 1, "estimate": 1, "processor_seconds": 0}
        told = [", ".join(cell(own.get(v), measure, d) for v in values) for measure, d in digits.items()]
        lines.append("| " + " | ".join([name, *told, amounts(next(iter(own.values())), along)]) + " |")
        lacking += [f"{name}: {run['ended']}." for run in own.values() if run["ended"][:4] not in ("", "over")][:1]
    return "\n".join([*lines, *([""] + lacking if lacking else [])])


def by_experts(runs: list[Kept]) -> list[Kept]:
    """The runs with as few images as any."""
    fewest = min((run["images"] for run in runs if run["images"]), default=0)
    return [run for run in runs if run["images"] in (0, fewest)]


def by_images(runs: list[Kept]) -> list[Kept]:
    """The runs with as few experts as any, of the methods that were run with several numbers of images."""
    fewest = min(run["experts"] for run in runs)
    few = [run for run in runs if run["experts"] == fewest]
    counts = {name: {run["images"] for run in few if run["method"] == name} for name in registry.methods()}
    return [run for run in few if len(counts[run["method"]]) > 1]


def main() -> None:
    """Replace what stands between the marks, and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=DOCS / "real-size.json")
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args()
    runs = json.loads(asked.json.read_text())["runs"]
    page = asked.docs / "real-size.md"
    text = page.read_text(encoding="utf-8")
    for encoder in dict.fromkeys(run["encoder"] for run in runs):
        of_encoder = [run for run in runs if run["encoder"] == encoder]
        name = short(encoder).lower().replace("/", "-")
        for along, chosen, label in (
            ("experts", by_experts(of_encoder), "experts T"),
            ("images", by_images(of_encoder), "images N of each expert"),
        ):
            mark = f"{name} by {along}"
            marks = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
            if not chosen:
                continue
            if not marks.search(text):
                print(f"{mark}: left out; to have it, write <!-- {mark} --> and <!-- /{mark} --> on the page")
                continue
            picture = f"real-size-{name}-{along}.svg"
            draw(chosen, along, label, asked.docs / picture)
            made = f"![{short(encoder)}, by {along}]({picture})\n\n{table(chosen, along)}"
            text = marks.sub(lambda found, made=made: f"{found[1]}\n{made}\n\n{found[2]}", text)
            print(f"{mark}: {len(chosen)} runs")
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

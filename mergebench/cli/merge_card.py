"""`mergebench merge --card`: a model card beside merged weights, with the recipe that gives them again."""

import hashlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mergebench.configuration import option_value
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from mergebench.merging.method import MethodCard

MARK = "<!-- written by mergebench merge --card -->"
LIBRARIES = {"timm": "timm", "hf": "transformers", "open_clip": "open_clip"}


def card_path(weights: Path, whole: bool) -> Path:
    """Where the card of merged weights is written: README.md in a model's folder, else the weights' name in .md.

    Raises:
        MergebenchError: another text is there already.
    """
    path = weights.with_name("README.md") if whole else weights.with_suffix(".md")
    if path.exists() and not (path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")):
        raise MergebenchError(f"--card: {path} is there already and is no card of a merge; move it away")
    return path


def model_card(card: "MethodCard", recipe: dict[str, Any], weights: Path, named: list[str]) -> str:
    """A model card in Markdown.

    Args:
        card: the method's.
        recipe: as it stands in the weights' header.
        weights: the file, written.
        named: the options that name what was merged, as they were typed.
    """
    from mergebench.leaderboard.media import for_markdown

    def cell(value: Any) -> str:
        return for_markdown(str(value), cell=True)

    front = {"library_name": LIBRARIES[recipe["format"]], "tags": ["mergebench", "merge", "vision"]}
    front["pipeline_tag"] = "image-feature-extraction"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    experts = recipe["experts"]
    facts = {
        "method": f"`{cell(card.name)}`" + (f", {cell(card.paper)}" if card.paper else ""),
        "follows": cell(card.fidelity or "-"),
        **{f"`{cell(name)}`": cell(value) for name, value in recipe["hyperparameters"].items()},
        "seed": cell(recipe["seed"]),
        "encoder": cell(_encoder(recipe["encoder"])),
        "base (hash of its tensors)": f"`{cell(recipe['base'])}`",
        **{f"expert {cell(name)}": f"`{cell(value)}`" for name, value in experts.items()},
        **{f"images drawn of {cell(name)}": f"`{cell(value)}`" for name, value in recipe.get("drawn", {}).items()},
        "SHA-256 of the file": f"`{digest}`",
        "mergebench": cell(recipe["mergebench"]),
    }
    number = f"{len(experts)} expert" + "s" * (len(experts) != 1)
    lines = ["---", yaml.safe_dump(front, sort_keys=False).strip(), "---", MARK, ""]
    lines += [f"# {for_markdown(card.title)} of {number}: {for_markdown(', '.join(experts))}", ""]
    lines += [f"One image encoder, merged from {number} of one pre-trained base; heads are not part of it.", ""]
    lines += ["| recipe | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items()), ""]
    lines += ["The whole recipe stands in the file's header, as JSON under `recipe`. It is merged again by", ""]
    lines += [f"    {for_markdown(_command(card, recipe, weights, named))}", ""]
    return "\n".join(lines)


def _encoder(recipe: Any) -> str:
    return str(recipe.get("name", recipe)) if isinstance(recipe, dict) else str(recipe)


def _command(card: "MethodCard", recipe: dict[str, Any], weights: Path, named: list[str]) -> str:
    """The command line that merges the same again."""
    method = card.name if card.module else f"{Path(card.path).name}:{card.function}"
    words = ["mergebench", "merge", "--method", method, *named, "--seed", str(recipe["seed"])]
    settings = [f"{name}={option_value(value)}" for name, value in recipe["hyperparameters"].items()]
    words += ["--set", *settings] if settings else []
    words += ["--format", recipe["format"]] if recipe["format"] != "timm" else []
    return shlex.join([*words, "--output", weights.name])

"""Types of hyper-parameters and options in a user's words."""

import ast
import re

from mergebench.precisions import PRECISIONS

# The command line's own types by name.
KINDS = {
    "PositiveInt": "a whole number from 1",
    "NonNegativeInt": "a whole number from 0",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number from 0",
}
TYPES = KINDS | {
    "Precision": " or ".join(PRECISIONS),
    "ClosedUnitInterval": "a number from 0 to 1",
    "OpenUnitInterval": "a number between 0 and 1",
    "FractionBelowOne": "a number from 0 to below 1",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "text",
    "dict[str, float]": "{name: number, ...}",
    "list[float]": "[number, ...]",
    "dict[str, Any]": "{name: value, ...}",
    "None": "nothing",
}


def in_words(annotation: str) -> str:
    """A type as people would call it: "int | None" is "a whole number or nothing".

    Args:
        annotation: as it stands in a signature, with or without the names of modules.
    """
    short = re.sub(r"[\w.]+\.(?=\w)", "", annotation) if "Literal" not in annotation else annotation
    return " or ".join(_one_in_words(part.strip()) for part in short.split(" | "))


def _one_in_words(part: str) -> str:
    choices = re.fullmatch(r"(?:typing\.)?Literal(\[.*\])", part)
    if choices:
        return " or ".join(str(value) for value in ast.literal_eval(choices[1]))
    return TYPES.get(part, part)

"""From a method's name and what is set of it to all that is needed to run it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mergebench.catalogue import discovery, registry
from mergebench.merging import hyperparameters
from mergebench.merging.method import Needs

if TYPE_CHECKING:
    from mergebench.merging.method import MergeMethod


def ready(method: str, settings: Mapping[str, Any]) -> "tuple[MergeMethod, dict[str, Any], Needs]":
    """A method's function, all of its hyper-parameters, and what it reads under them.

    Args:
        method: a registered name, or `path/to/file.py:function`.
        settings: the hyper-parameters that are set; the others have their defaults.

    Raises:
        MergebenchError: no such method, a file that does not import, or settings that do not fit.
    """
    card = registry.method(method)
    function = discovery.load_function(card)
    resolved = hyperparameters.resolve(function, settings)
    return function, resolved, registry.needs_of(card, resolved)

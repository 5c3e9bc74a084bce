"""Which stored results are of one experiment, so that they may stand side by side."""

from collections.abc import Iterable

from mergebench.measuring.results import Result


def comparable(results: Iterable[Result]) -> list[Result]:
    """Those of the newest experiment; a suite, a checkpoint or a method may have changed under the same name.

    Weights must be the newest of their name, images and conditions the newest of their variant, code the newest of
    its method and of those that it starts from: seeds of a method from before and after a change of its code are not
    averaged. All must be from a CPU or all from a GPU, which round and take their time differently. The newest is what
    was asked for last. Submissions are held to what was measured here, whatever their age, and stand with their own
    code: none can take the place of a result of this machine.

    Args:
        results: of one suite or study on one zoo, in any order.
    """
    results = sorted(results, key=lambda r: (r.listing is None, r.status == "ok", r.last_asked))
    kind = results[-1].environment.device_kind if results else ""
    results = [r for r in results if r.environment.device_kind == kind]
    results.sort(key=lambda r: (r.listing is None, r.last_asked))
    # Weights bear the same names in all variants; images do not: test images may be under another corruption.
    weights = {name: digest for r in results for name, digest in r.weights.items()}
    variants = {r.variant: (r.data, _stated(r)) for r in results}
    own = [r for r in results if not r.listing]
    sources = {r.method: (r.source, r.encoder_source) for r in own}
    # A newer code of a method that another started from parts what started from the old one, not the method's own rows.
    starts = {method: digest for r in own for method, digest in r.code.items()}
    return [
        r
        for r in results
        if r.weights.items() <= weights.items()
        and (r.data, _stated(r)) == variants[r.variant]
        and (r.listing or ((r.source, r.encoder_source) == sources[r.method] and r.starts.items() <= starts.items()))
    ]


def _stated(result: Result) -> dict[str, object]:
    """The conditions but for the hash of the encoder's code: methods that other code measured are told, not parted."""
    zoo = {name: value for name, value in result.conditions.get("zoo", {}).items() if name != "encoder_source"}
    return {**result.conditions, "zoo": zoo}

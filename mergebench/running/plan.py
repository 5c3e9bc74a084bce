"""Planning: from what was asked for to the list of cells."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.trust import check_methods, is_installed
from mergebench.catalogue.yaml_files import short_name
from mergebench.errors import HyperparameterError, MergebenchError, UnknownNameError, nearest, tell
from mergebench.measuring.devices import placement
from mergebench.measuring.facts import PUBLISHED
from mergebench.measuring.keys import CellKey
from mergebench.measuring.measure import resolve_device
from mergebench.merging import hyperparameters
from mergebench.merging.method import MethodCard
from mergebench.running.identity import SourceReader
from mergebench.running.planned import Cell, Plan, RunRequest
from mergebench.running.tracks import Track, differing, make_tracks
from mergebench.suites.bench import Bench
from mergebench.suites.variant import Variant, select

if TYPE_CHECKING:
    from mergebench.merging.method import MergeMethod


def make_plan(request: RunRequest) -> Plan:
    """Check everything that was asked for, and list the cells.

    Raises:
        MergebenchError: anything unknown, unfitting or broken: nothing has been run or written then.
    """
    if not (request.suite or request.study):
        raise MergebenchError("say what to run: a suite or a study")
    bench = Bench(
        request.suite,
        request.zoo,
        request.zoo_root,
        study=request.study,
        download=request.download,
        allow_duplicates=request.allow_duplicates,
        memory=request.memory,
    )
    study = bench.study
    named = bench.method_files(("methods",) if request.methods else ())
    check_methods(named, request.allow_code)  # before any of it is even looked at
    cards = registry.select_methods(request.methods or (study.methods if study else ()))
    # Accuracies relative to the experts need the experts' own, so the ceiling is always measured, once.
    cards += [c for c in registry.methods().values() if c.role == "ceiling" and c not in cards]
    # The first ceiling is what others are held against: the built-in one, whatever else there is.
    cards.sort(key=lambda c: 2 if c.role != "ceiling" else c.name not in registry.methods())
    variants = select(bench.variants, request.only)
    known = registry.methods().keys() | {c.name for c in cards}
    for name in dict.fromkeys(m for v in variants for m in v.methods):
        if name not in known:
            raise UnknownNameError("method", name, known)
    given = merged_settings(bench, cards, request.hyperparameters)
    stated = merged_settings(bench, cards, {})
    functions = {c.name: discovery.load_function(c) for c in cards}
    device = request.device
    if not request.elsewhere:
        device = resolve_device(device)
        placement(device, request.devices)  # so many there must be
    # As results had it before there was a choice.
    reduced = {} if request.precision == "float32" else {"precision": request.precision}
    reader = SourceReader()
    tracks = make_tracks(request, bench, cards, known)
    planned = [
        (card, v, track) for card in cards for track in tracks if track.has(card) for v in _of_method(card, variants)
    ]
    resolved = [
        settings_of(card, functions[card.name], given[card.name], v, request.hyperparameters, track)
        for card, v, track in planned
    ]
    lacking = [(card, v, bench.lacks(card, v, s)) for (card, v, _), s in zip(planned, resolved, strict=True)]
    once = {(card.name, v.name, lack): (card, v, lack) for card, v, lack in lacking}  # whatever the number of tracks
    left_out = _left_out(list(once.values()), request.methods)
    runnable = [not lack for _, _, lack in lacking]
    planned, resolved = list(compress(planned, runnable)), list(compress(resolved, runnable))
    _check_axes(variants, cards)
    for variant in variants:
        bench.check_classes(variant)
    capped = [
        _fitting(bench, card, v, settings, given[card.name].keys() | v.hyperparameters.keys())
        for (card, v, _), settings in zip(planned, resolved, strict=True)
    ]
    resolved = [settings for settings, _ in capped]
    left_out += tuple(dict.fromkeys(told for _, told in capped if told))
    left_out += tuple(sentence for track in tracks for sentence in track.told)
    for sentence in bench.odd_experts(variants):
        tell(sentence)
    asked = request.hyperparameters
    replaced = [
        _replaced(bench, card, functions[card.name], stated[card.name], v, asked.get(card.name, ()), settings)
        for (card, v, _), settings in zip(planned, resolved, strict=True)
    ]
    cells: dict[str, Cell] = {}
    for seed in dict.fromkeys(request.seeds or (study.seeds if study else (0,))):
        for (card, variant, track), settings, by_hand in zip(planned, resolved, replaced, strict=True):
            sources = reader.read(card, settings)
            needs = registry.needs_of(card, settings)
            key = CellKey(
                method=card.name,
                source=sources.method,
                starts=sources.starts,
                hyperparameters=settings,
                suite=bench.name,
                study=bench.study_name,
                zoo=bench.zoo.name,
                variant=variant.name,
                conditions=variant.identity | {"zoo": bench.zoo.identity} | reduced,
                seed=seed,
                weights=bench.weights(variant, needs),
                data=bench.data(variant),
                device=device.partition(":")[0],
            )
            place = _place(bench, variant, settings) | {"given": by_hand}
            cell = Cell(card, functions[card.name], settings, needs, seed, variant, key, sources.engine, place)
            # Where a search has chosen the default, both tracks have the one cell, which says so.
            record = track.records.get(card.name, {}) or (cells[key.digest].tuned if key.digest in cells else {})
            cells[key.digest] = replace(cell, tuned=record)
    return Plan(
        bench,
        list(cells.values()),
        device,
        request.precision,
        request.devices,
        left_out,
        _code(bench, named),
        name=f"{bench.study_name} on {bench.name}" if study else bench.name,
        told=tuple(bench.zoo.told({t for c in cells.values() for t in (*c.variant.merged, *c.variant.evaluate)})),
    )


def _replaced(
    bench: Bench,
    card: MethodCard,
    function: "MergeMethod",
    stated: Mapping[str, Any],
    variant: Variant,
    asked: Iterable[str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The published values in whose place a cell has others that somebody gave.

    Args:
        bench, card, function, variant: of the cell.
        stated: what the zoo, the suite and the study give.
        asked: the hyper-parameters that somebody gave.
        settings: the cell's.
    """
    if not asked:
        return {}
    try:
        published = settings_of(card, function, stated, variant, {}, Track(PUBLISHED))
        published, _ = _fitting(bench, card, variant, published, stated.keys() | variant.hyperparameters.keys())
    except HyperparameterError:  # what is stated does not fit, and was replaced
        published = dict(stated)
    return differing({name: published.get(name) for name in asked}, settings)


def _place(bench: Bench, variant: Variant, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Where a cell stands in its suite or study, which may grow or change around it while its result stays the same.

    So may what a zoo's file says its checkpoints are: that is no part of a cell, whose weights are hashed.
    """
    return {
        "point": dict(variant.point),
        "position": bench.variants.index(variant) if variant in bench.variants else 0,
        "varied": sorted({n for v in bench.variants for n in v.hyperparameters} & set(settings)),
        "steps": variant.steps,
        "checkpoints": bench.zoo.checkpoints,
    }


def _code(bench: Bench, named: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What is told of code that only YAML files name: methods' files, and an encoder that is no registered zoo's."""
    encoder = bench.zoo.encoder.name
    made = [] if is_installed(encoder) else [f"{encoder} is run, as zoo {bench.zoo.name!r} says"]
    return tuple(made + [f"{file} is run, as {who} says" for who, files in named.items() for file in files])


def _left_out(lacking: Sequence[tuple[MethodCard, Variant, str]], asked: Sequence[str]) -> tuple[str, ...]:
    """What is told of methods that cannot be run on some variants.

    Args:
        lacking: method, variant, and why it cannot be run there, empty if it can.
        asked: the patterns of methods; one that was asked for by its own name must be able to run somewhere.
    """
    reasons: dict[str, list[str]] = {}
    for card, _, lack in lacking:
        reasons.setdefault(card.name, []).append(lack)
    for name, told in reasons.items():
        if all(told) and (name in asked or name not in registry.methods()):
            raise MergebenchError(f"nothing to run for {name!r}: {told[0]}")
    partly = {name: [lack for lack in told if lack] for name, told in reasons.items()}
    return tuple(
        f"{name} is left out{'' if len(lacks) == len(reasons[name]) else f' of {len(lacks)} variants'}: {lacks[0]}"
        for name, lacks in partly.items()
        if lacks
    )


def _of_method(card: MethodCard, variants: Sequence[Variant]) -> list[Variant]:
    """The variants that concern a method; references know nothing of what a study varies.

    A study's arms come one after the other: within an arm, the suite's variants may share a merge or continue one.
    """
    if card.role == "method":
        arms = {arm: place for place, arm in enumerate(dict.fromkeys(v.arm for v in variants))}
        return sorted((v for v in variants if not v.methods or card.name in v.methods), key=lambda v: arms[v.arm])
    plain = {(v.reference or v).name: v.reference or v for v in variants}
    return list(plain.values())


def settings_of(
    card: MethodCard,
    function: "MergeMethod",
    given: Mapping[str, Any],
    variant: Variant,
    asked: Mapping[str, Mapping[str, Any]],
    track: Track,
) -> dict[str, Any]:
    """A method's hyper-parameters in a variant and a track, checked.

    Args:
        card, function: the method.
        given: what the zoo, the suite, the study and somebody give, the later above the earlier.
        variant: which may vary some.
        asked: of `given`, method -> what somebody gave.
        track: whose choices stand above `given`.

    Raises:
        HyperparameterError: a name that it does not have, or a value that it does not take.
    """
    varied = {n: v for n, v in variant.hyperparameters.items() if n in card.hyperparameters}
    clash = next((n for n in varied if n in asked.get(card.name, {})), None)
    if clash:
        raise HyperparameterError(f"{card.name}.{clash} is what the study varies; choose its values with --only")
    settings = hyperparameters.resolve(function, {**given, **varied})
    chosen = differing(track.settings.get(card.name, {}), settings)
    if chosen:
        try:
            settings = hyperparameters.resolve(function, {**given, **varied, **chosen})
        except HyperparameterError as error:
            raise HyperparameterError(f"{track.name}: {error}") from None
    check_start(card, settings)
    return settings


def _fitting(
    bench: Bench, card: MethodCard, variant: Variant, settings: dict[str, Any], given: Collection[str], of: str = ""
) -> tuple[dict[str, Any], str]:
    """Settings that ask for no more calibration images than there are, and what is told of it.

    Args:
        bench, card, variant, settings: of the cell.
        given: the hyper-parameters that somebody chose: these are refused, a default is lowered.
        of: the method that starts with this one, if one does.

    Raises:
        HyperparameterError: more were asked for than there are.
    """
    start = registry.start_of(card, settings)
    if start is not None:
        chosen = settings.get(f"{card.starts}_settings") or {}
        first = hyperparameters.resolve(discovery.load_function(start), chosen)
        _fitting(bench, start, variant, first, first.keys(), of or card.name)
    wanted = settings.get("samples", 0)
    if not wanted or card.role == "ceiling" or not registry.needs_of(card, settings).calibration:
        return settings, ""
    task, fewest = bench.fewest_calibration(variant)
    if wanted <= fewest:
        return settings, ""
    if "samples" in given:
        whose = f"{of}: its start {card.name}" if of else f"method {card.name!r}"
        raise HyperparameterError(
            f"{whose} is to draw samples={wanted} images, but task {task!r} has {fewest} for calibration; "
            f"set samples={fewest} or fewer"
        )
    return settings | {"samples": fewest}, (
        f"{card.name} takes samples={fewest}, for task {task!r} has no more calibration images (it would take {wanted})"
    )


def check_start(card: MethodCard, settings: Mapping[str, Any]) -> None:
    """Refuses, by a MergebenchError, settings that name no method to start from, or none that it has."""
    start = registry.start_of(card, settings)
    if start is not None:
        given = settings.get(f"{card.starts}_settings") or {}
        check_start(start, hyperparameters.resolve(discovery.load_function(start), given))


def _check_axes(variants: Sequence[Variant], cards: Sequence[MethodCard]) -> None:
    """Every hyper-parameter that a study varies must be one that some method has."""
    known = sorted({n for c in cards for n in c.hyperparameters})
    for name in dict.fromkeys(n for v in variants for n in v.hyperparameters):
        if name in registry.methods():
            raise HyperparameterError(
                f"a point sets {name!r}, a method; write the hyper-parameter's own name, for every method that has it"
            )
        if name not in known:
            raise HyperparameterError(f"no method of this run has a hyper-parameter {name!r}; {nearest(name, known)}")


def merged_settings(
    bench: Bench, cards: Sequence[MethodCard], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each method's settings: the zoo's, overridden by the suite's, the study's, and those given.

    A suite's are for the zoo that it names: with another zoo in its place, they say nothing of that one.

    Raises:
        HyperparameterError: settings for a method that is not run.
    """
    names = [c.name for c in cards]
    for method in given:
        if method not in names:
            raise HyperparameterError(f"hyper-parameters for {method!r}, which is not run; {nearest(method, names)}")
    study = bench.study.hyperparameters if bench.study else {}
    suite = bench.suite.hyperparameters if bench.zoo.name == short_name(bench.suite.zoo) else {}
    zoo = bench.zoo.config.hyperparameters
    for where, settings in (
        (f"zoo {bench.zoo.name!r}", zoo),
        (f"suite {bench.name!r}", suite),
        (f"study {bench.study_name!r}", study),
    ):
        unknown = [m for m in settings if m not in registry.methods() and m not in names]
        if unknown:
            near = nearest(unknown[0], [*registry.methods(), *names])
            raise MergebenchError(f"{where} sets hyper-parameters of {unknown[0]!r}, which is no known method; {near}")
    return {n: {**zoo.get(n, {}), **suite.get(n, {}), **study.get(n, {}), **given.get(n, {})} for n in names}

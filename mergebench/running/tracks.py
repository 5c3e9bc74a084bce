"""Tracks: under which settings a run's methods are measured, published ones or those that a search has chosen."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mergebench.catalogue import registry
from mergebench.catalogue.trust import check_methods, method_files
from mergebench.errors import HyperparameterError, MergebenchError, UnknownNameError
from mergebench.measuring.facts import NOTHING_TO_TUNE, PUBLISHED, TUNED
from mergebench.merging.method import MethodCard
from mergebench.running.chosen import read_settings, record_of, shipped
from mergebench.running.planned import RunRequest
from mergebench.suites.bench import Bench


@dataclass(frozen=True)
class Track:
    """One set of settings for all methods of a run.

    Args:
        name: "published", or the place of a settings file.
        settings: method -> hyper-parameter -> value, in place of the defaults.
        records: method -> how they were chosen; a method without a record is not of this track.
        elsewhere: methods that are of another track alone.
        told: what is to be known of it, in sentences.
    """

    name: str
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    elsewhere: Collection[str] = ()
    told: tuple[str, ...] = ()

    def has(self, card: MethodCard) -> bool:
        """Whether a method is measured in it; references are, in all."""
        own = self.name == PUBLISHED or card.role != "method" or card.name in self.records
        return own and card.name not in self.elsewhere


def make_tracks(request: RunRequest, bench: Bench, cards: Sequence[MethodCard], known: Collection[str]) -> list[Track]:
    """The tracks that a request asks for.

    If it says nothing, the installed choices, and for what these lack, and where there are none, published settings.

    Args:
        request: what was asked for; its `settings` name the tracks.
        bench: the suite on its zoo.
        cards: the methods that are run.
        known: the names of all methods that there are.

    Raises:
        MergebenchError: a file that is missing or does not fit, or what cannot be asked for together.
    """
    if not request.settings:
        return _unasked(request, bench, cards, known)
    tracks = [_track(name, request, bench, cards, known) for name in dict.fromkeys(request.settings)]
    if not any(track.has(card) for card in cards for track in tracks if card.role == "method"):
        told = next((sentence for track in tracks for sentence in track.told), "")
        if told:
            raise MergebenchError(f"nothing to run: {told}")
    return tracks


def settings_from(name: str, bench: Bench, card: MethodCard, request: RunRequest) -> Track:
    """The track of one method's settings, for what merges alone.

    Args:
        name: "published", "tuned" or a file of choices.
        bench: the suite on its zoo.
        card: the method.
        request: what is given of its hyper-parameters, and whether code may be run that the file names.

    Raises:
        MergebenchError: a file that is missing or does not fit, or that has nothing of the method.
    """
    track = _track(name, request, bench, [card], registry.methods().keys() | {card.name})
    if not track.has(card):
        raise MergebenchError(f"--settings {name}: {track.name} has no settings of {card.name!r}; leave out --settings")
    return track


def _unasked(request: RunRequest, bench: Bench, cards: Sequence[MethodCard], known: Collection[str]) -> list[Track]:
    """The installed choices, if any, and published settings for methods that they lack or that were given settings.

    So no method is left out for want of a search that nobody asked for.
    """
    if bench.study or shipped(bench.name, bench.zoo.name) is None:
        return [Track(PUBLISHED)]
    given = request.hyperparameters
    tuned = _track(TUNED, replace(request, hyperparameters={}), bench, cards, known)
    records = {name: record for name, record in tuned.records.items() if name not in given}
    methods = _methods(cards, bench)
    lacking = [name for name in methods if name not in tuned.records and name not in given]
    told = [
        f"{', '.join(lacking)}: measured with published settings, the others with those chosen for {bench.name}; "
        f"`--settings published` has all alike, `mergebench tune {' '.join(lacking)}` searches"
    ] * bool(lacking and set(methods) & set(records))
    published = Track(PUBLISHED, elsewhere=frozenset(records), told=tuple(told))
    return [replace(tuned, records=records, told=()), published]


def _track(name: str, request: RunRequest, bench: Bench, cards: Sequence[MethodCard], known: Collection[str]) -> Track:
    if name == PUBLISHED:
        return Track(PUBLISHED)
    if bench.study:
        raise MergebenchError(f"--settings {name}: study {bench.study_name!r} has settings of its own; leave out one")
    path = _file(name, bench)
    file = read_settings(path)
    chosen = {name: entry.settings for name, entry in file.methods.items()}
    check_methods({str(path): method_files({"hyperparameters": chosen})}, request.allow_code)
    clash = next((m for m in request.hyperparameters if m in chosen), None)
    if clash:
        raise HyperparameterError(
            f"hyper-parameters of {clash!r} are both given and chosen by {path}; leave them out, or run it without "
            "--settings"
        )
    records = {name: record_of(entry, file) for name, entry in file.methods.items()}
    records |= {name: NOTHING_TO_TUNE for name in file.nothing_to_tune if name not in records}
    lacking = [name for name in _methods(cards, bench) if name not in records]
    told = [
        f"{', '.join(lacking)}: left out of the tuned settings, which {path} does not have; "
        f"`mergebench tune {' '.join(lacking)}` searches them"
    ] * bool(lacking)
    unknown = [name for name in records if name not in known]
    if unknown:
        told.append(f"{path} has settings of {', '.join(unknown)}, which no method here is called")
    if (file.suite, file.zoo) != (bench.name, bench.zoo.name):
        told.append(f"settings were chosen for {file.place} and are used on {bench.name}, zoo {bench.zoo.name}")
    return Track(str(path), chosen, records, told=tuple(told))


def _methods(cards: Sequence[MethodCard], bench: Bench) -> list[str]:
    """The methods that can be run on some variant: of the others the plan tells why not, and no search is lacking."""
    numbers = {len(variant.merge) + bool(variant.previous) for variant in bench.variants}
    able = [card for card in cards if any(not card.lacks(n, bench.layout.in_sequence) for n in numbers)]
    return [card.name for card in able if card.role == "method"]


def _file(name: str, bench: Bench) -> Path:
    if name != TUNED:
        if not Path(name).suffix and not Path(name).exists():
            raise UnknownNameError("settings", name, (PUBLISHED, TUNED))
        return Path(name)
    path = shipped(bench.name, bench.zoo.name)
    if path is None:
        raise MergebenchError(
            f"--settings tuned: there are no chosen settings for {bench.name} on zoo {bench.zoo.name}; search them, as "
            f"`mergebench tune all --suite {bench.name}`, and name the file that it writes"
        )
    return path


def differing(chosen: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen values that are not the default's: what is given though it is the default would count as given."""
    return {name: value for name, value in chosen.items() if name not in default or value != default[name]}

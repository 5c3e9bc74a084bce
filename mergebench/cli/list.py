"""`mergebench list`: what there is, without importing what is heavy."""

from typing import TYPE_CHECKING, Literal, get_args

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.saying import say, say_json

if TYPE_CHECKING:
    from mergebench.data.task import TaskCard

WHAT = Literal["methods", "suites", "studies", "zoos", "tasks", "corruptions"]


def add_arguments(parser: ArgumentParser) -> None:
    """What `list` takes."""
    parser.add_argument(
        "what", nargs="?", type=WHAT | None, default=None, help="what to list; without, how many of each"
    )
    parser.add_argument("--format", type=Literal["text", "json"], default="text", help="for people, or for a script")


def rows(what: str) -> list[tuple[str, ...]]:
    """A header and a row for every registered thing."""
    from mergebench.catalogue import registry
    from mergebench.catalogue.yaml_files import read_study, read_suite, read_zoo

    body: list[tuple[str, ...]]
    if what == "methods":
        body = [
            (c.name, c.family, " ".join(c.needs.names()) or "-", str(c.year or "-"), c.paper or "-", c.title)
            for c in registry.methods().values()
        ]
        return [("name", "family", "needs", "year", "paper", "title"), *body]
    if what == "tasks":
        cards = [t.card for t in registry.tasks().values()]
        body = [(c.name, c.stands_for, str(len(c.classes)), _count(c), c.title) for c in cards]
        return [("name", "stands for", "classes", "test images", "title"), *body]
    if what == "suites":
        suites = {n: read_suite(n) for n in registry.config_files("suites")}
        counts = {n: s.merge if isinstance(s.merge, int) else len(s.merge) for n, s in suites.items()}
        body = [(n, s.zoo, str(counts[n]), s.title) for n, s in suites.items()]
        return [("name", "zoo", "tasks", "title"), *body]
    if what == "studies":
        studies = {n: read_study(n) for n in registry.config_files("studies")}
        body = [(n, s.suite, " ".join(s.vary or s.points), str(len(s.seeds)), s.title) for n, s in studies.items()]
        return [("name", "suite", "varies", "seeds", "title"), *body]
    if what == "corruptions":
        return [("name", "title"), *((c.name, c.title) for c in registry.corruptions().values())]
    zoos = {n: read_zoo(n) for n in registry.config_files("zoos")}
    return [("name", "experts", "title"), *((n, str(len(z.tasks)), z.title) for n, z in zoos.items())]


def kinds() -> list[tuple[str, ...]]:
    """A header and a row for every kind of thing that can be listed."""
    return [("what", "how many"), *((what, str(len(rows(what)) - 1)) for what in get_args(WHAT))]


def _count(card: "TaskCard") -> str:
    """How many test images there are; those of data that nobody has counted are known once they are read."""
    return str(card.splits.get("test", "?"))


def execute(config: Namespace) -> int:
    """Print an aligned table, or JSON."""
    table = rows(config.what) if config.what else kinds()
    if config.format == "json":
        say_json([dict(zip(table[0], row, strict=True)) for row in table[1:]])
        return 0
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0

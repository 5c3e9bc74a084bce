"""`mergebench list`: what there is, without importing any of it."""

from typing import Literal

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """What `list` takes."""
    parser.add_argument(
        "what", type=Literal["methods", "suites", "zoos", "tasks"], help="methods, suites, zoos or tasks"
    )


def rows(what: str) -> list[tuple[str, ...]]:
    """A header and a row for every registered thing."""
    from mergebench import registry
    from mergebench.configuration import read_suite, read_zoo

    if what == "methods":
        body = [
            (c.name, c.family, " ".join(c.needs.names()) or "-", c.paper or "-", c.title)
            for c in registry.methods().values()
        ]
        return [("name", "family", "needs", "paper", "title"), *body]
    if what == "tasks":
        cards = [t.card for t in registry.tasks().values()]
        body = [(c.name, c.stands_for, str(len(c.classes)), str(c.splits["test"]), c.title) for c in cards]
        return [("name", "stands for", "classes", "test images", "title"), *body]
    if what == "suites":
        suites = {n: read_suite(n) for n in registry.config_files("suites")}
        body = [(n, s.zoo, str(len(s.merge)), str(len(s.evaluated)), s.title) for n, s in suites.items()]
        return [("name", "zoo", "merged", "evaluated", "title"), *body]
    zoos = {n: read_zoo(n) for n in registry.config_files("zoos")}
    return [("name", "experts", "title"), *((n, str(len(z.tasks)), z.title) for n, z in zoos.items())]


def execute(config: Namespace) -> int:
    """Print an aligned table."""
    table = rows(config.what)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0

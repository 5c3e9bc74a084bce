"""`mergebench describe`: all that is known of one method, suite, zoo or task."""

import textwrap

from jsonargparse import ArgumentParser, Namespace

from mergebench.errors import UnknownNameError


def add_arguments(parser: ArgumentParser) -> None:
    """What `describe` takes."""
    parser.add_argument("name", type=str, help="a method (or FILE.py:FUNCTION), suite, zoo or task")


def execute(config: Namespace) -> int:
    """Print whatever bears that name.

    Raises:
        UnknownNameError: nothing does.
    """
    from mergebench import registry

    name = config.name
    makers = {
        **dict.fromkeys(registry.methods(), _method),
        **dict.fromkeys(registry.config_files("suites"), _suite),
        **dict.fromkeys(registry.config_files("zoos"), _zoo),
        **dict.fromkeys(registry.tasks(), _task),
    }
    if ".py" in name:
        makers[name] = _method
    if name not in makers:
        raise UnknownNameError("method, suite, zoo or task", name, makers)
    print("\n".join(makers[name](name)))
    return 0


def _method(name: str) -> list[str]:
    from mergebench import registry

    card = registry.method(name)
    lines = [
        f"{card.name}: {card.title}",
        f"  paper   {card.paper or '-'}",
        f"  family  {card.family}",
        f"  needs   {', '.join(card.needs.names()) or 'only the experts'}",
    ]
    for (hyper, value), needs in card.needs_when.items():
        lines.append(f"          with {hyper}={value}: {', '.join(needs.names()) or 'only the experts'}")
    lines += ["", textwrap.indent(card.doc, "  "), "", "  hyper-parameters:"]
    lines += [f"    {n}: {kind} = {default}" for n, (kind, default) in card.hyperparameters.items()] or ["    none"]
    example = next(iter(card.hyperparameters.items()), None)
    setting = f" --set {card.name}.{example[0]}={example[1][1].strip(chr(39))}" if example else ""
    return [*lines, "", f"  example: mergebench run --methods {name} --suite tiny-8{setting}"]


def _suite(name: str) -> list[str]:
    from mergebench.configuration import read_suite

    suite = read_suite(name)
    lines = [f"{name}: {suite.title}", f"  zoo       {suite.zoo}", f"  merge     {' '.join(suite.merge)}"]
    lines.append(f"  evaluate  {' '.join(suite.evaluated)}")
    return lines + [f"  {method}  {settings}" for method, settings in suite.hyperparameters.items()]


def _zoo(name: str) -> list[str]:
    from mergebench.configuration import read_zoo

    zoo = read_zoo(name)
    return [
        f"{name}: {zoo.title}",
        f"  encoder  {zoo.encoder}",
        f"  weights  {zoo.weights}",
        f"  tasks    {' '.join(zoo.tasks)}",
    ]


def _task(name: str) -> list[str]:
    from mergebench import registry

    card = registry.tasks()[name].card
    splits = ", ".join(f"{split} {count:,}" for split, count in card.splits.items())
    facts = {
        "stands for": card.stands_for,
        "classes": f"{len(card.classes)}: {', '.join(card.classes)}",
        "templates": " | ".join(card.templates),
        "images": splits,
        "source": card.source,
        "licence": card.licence,
        "real": card.real,
        "drawn": card.drawn,
    }
    wrapped = [textwrap.fill(f"  {k:<11}{v}", 118, subsequent_indent=" " * 13) for k, v in facts.items()]
    return [f"{card.name}: {card.title}", *wrapped]

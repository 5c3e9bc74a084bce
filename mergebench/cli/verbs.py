"""The verbs: what each is for, examples of it, and what is left when it is ended half-way; known without importing any.

Examples are held to the parser, and to the names that are registered, by a test.
"""

from typing import NamedTuple


class Verb(NamedTuple):
    """One verb.

    Args:
        group: the heading under which it is listed.
        purpose: one line.
        examples: command lines without the program's name.
        kept: what an interrupt leaves of it.
    """

    group: str
    purpose: str
    examples: tuple[str, ...] = ()
    kept: str = "nothing was written"


RANK, RESULTS = "rank methods", "results again"
LOOK, MACHINE = "look at what there is", "this machine"
METHOD, MODELS = "your own method", "your own models"

VERBS = {
    "run": Verb(
        RANK,
        "merge with every method asked for, evaluate, and write the leaderboard",
        (
            "run --methods all",
            "run --methods ties regmean++ --suite tiny-20 --seeds 0 1 2",
            "run --methods data-free --set ties.density=0.1 --workers 2",
            "run --study samples --dry-run",
        ),
        "finished cells are kept, run again to go on",
    ),
    "tune": Verb(
        RANK,
        "search a method's hyper-parameters on validation data, and measure what was chosen",
        ("tune ties", "tune ties --space density=0.05:0.5 --trials 30", "tune data-free --trials 30 --studies 3"),
        "finished trials are kept, run again to go on",
    ),
    "list": Verb(LOOK, "list methods, suites, studies, zoos, tasks or corruptions", ("list methods", "list suites")),
    "describe": Verb(
        LOOK,
        "tell all about a method, suite, study, zoo, task or corruption",
        ("describe regmean++", "describe tiny-8", "describe clip-vit-b-32"),
    ),
    "inspect": Verb(
        LOOK,
        "look at a zoo's task vectors: angles, sizes, signs and spectra by depth",
        ("inspect", "inspect --suite tiny-20"),
    ),
    "check": Verb(
        METHOD,
        "hold methods, built in or your own, to what every method must keep",
        ("check mine.py", "check ties --set density=0.5"),
    ),
    "submit": Verb(
        METHOD,
        "check a method, measure it on a suite, and pack a submission to the leaderboard",
        ("submit mine.py:my_method --suite tiny-8 --author 'A. Author'",),
        "finished cells are kept, submit again to go on",
    ),
    "verify": Verb(
        METHOD,
        "hold submissions to their schema, predictions and benchmark; with --run-code, merge again",
        ("verify submissions/my_method.json", "verify submissions/my_method.json --run-code"),
    ),
    "merge": Verb(
        MODELS,
        "merge experts into one checkpoint",
        (
            "merge --method regmean++ --output merged.safetensors",
            "merge --method ties --base base.safetensors --experts pets.safetensors cars.safetensors "
            "--output merged.safetensors",
        ),
    ),
    "evaluate": Verb(
        MODELS,
        "evaluate a checkpoint on a suite",
        ("evaluate merged.safetensors", "evaluate merged.safetensors --suite tiny-20"),
    ),
    "finetune": Verb(
        MODELS,
        "train an expert from a zoo's base",
        ("finetune --task digits --output experts/digits.safetensors",),
        "with --checkpoints, the same command goes on where it was",
    ),
    "leaderboard": Verb(
        RESULTS,
        "show stored results again, as table and page",
        ("leaderboard", "leaderboard --out runs other-runs"),
    ),
    "table": Verb(
        RESULTS,
        "print stored results as papers print them: LaTeX, Markdown, CSV, Typst",
        ("table --format latex", "table --suite tiny-8 --rows ties regmean regmean++ --columns tasks average"),
    ),
    "compare": Verb(
        RESULTS,
        "hold two methods against each other, image by image, on stored results",
        ("compare regmean++ regmean",),
    ),
    "runs": Verb(
        RESULTS,
        "look through a run's folder, remove from it what no longer counts, or pack it for others",
        ("runs check", "runs gc", "runs export board.tar.gz"),
    ),
    "fetch": Verb(
        MACHINE,
        "download and decode what a suite needs of a zoo, ahead of a run",
        ("fetch --suite clip-8",),
        "what was fetched is kept, and the same command goes on",
    ),
    "doctor": Verb(MACHINE, "say what this machine can do, and what is wrong", ("doctor",)),
}

# What a bare `mergebench` says before everything else.
BEGIN = {
    "run --methods all": "merge the shipped zoo by every method; a ranked table and page",
    "list methods": "what there is; also suites, zoos, tasks",
    "describe regmean++": "all about one of them",
}

"""YAML that would run code, take memory and time without end, or trip up what reads it, by name."""

from pathlib import Path

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n  k{n}: 1\n" for n in range(1, 9)
)


def kinds(canary: Path) -> dict[str, bytes]:
    """Name of what is wrong -> a file's content; code in one would make the canary."""
    command = f"touch {canary}"
    texts = {
        "a call": f"title: !!python/object/apply:os.system ['{command}']",
        "a new object": f"title: !!python/object/new:subprocess.Popen [['touch', '{canary}']]",
        "a name of Python's": "title: !!python/name:os.system",
        "a module": "title: !!python/module:antigravity",
        "aliases": BOMB,
        "merges": MERGES,
        "an alias of itself": "title: &a [*a]",
        "deep": "[" * 100_000,
        "deep mappings": "{a: " * 100_000,
        "deep by indent": "".join(f"{' ' * n}a:\n" for n in range(1500)),
        "values without end": "merge: [" + "1," * 400_000 + "1]",
        "a text without end": "title: " + "x" * 3_000_000,
        "a number without end": "title: " + "9" * 1_000_000,
        "a number in sixties": "title: " + "1:" * 1000 + "1",
        "a number in sixties with a point": "title: 1" + ":10" * 1000 + ".5",
        "a key twice": "title: a\ntitle: b",
        "a list as key": "? [a]\n: b\n? [a]\n: c",
        "no number": "title: !!int ''",
        "no fraction": "title: !!float ''",
        "no date": "title: !!timestamp never",
        "no truth": "title: !!bool perhaps",
        "no set": "title: !!set [a]",
        "half a character": 'title: "\\ud800"',
        "two documents": "title: a\n---\ntitle: b",
        "a terminal's escape": 'title: "\\e[2J\\e[31m\\u202e"\n"\\e[31mfield\\u202e\\r": 1',
        "a tag that acts": "title: !<\\x1b[31m> a",
        "a class that acts": 'title: t\nzoo: "\\e]0;own\\a"\nmerge: ["\\u202ea"]',
        "no fields": "just words",
        "a list": "- a\n- b",
        "nothing": "",
    }
    return {name: text.encode() for name, text in texts.items()} | {
        "not UTF-8": b"title: \xff\xfe\n",
        "UTF-16": "title: a".encode("utf-16"),
        "a pickle": b"\x80\x04cos\nsystem\n(S'%s'\ntR." % command.encode(),
        "control characters": b"title: \x1b[31m\x00\x07",
    }

"""Files of weights that would run code, or take memory and time without end, by name."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Writer = Callable[[Path, Path], None]  # where to, the canary -> written


class Touches:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self._canary),))


class Opens(Touches):
    """The same by a name that a list of bad names would hardly have."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (io.open, (self._canary, "w"))


class Evaluates(Touches):
    """The same in text."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, (f"open({self._canary!r}, 'w')",))


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of safetensors with whatever header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start: int, end: int, shape: Any = (1,), dtype: str = "F32") -> dict[str, Any]:
    """A tensor's in a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def _twice(name: str, data: bytes) -> bytes:
    one = json.dumps(entry(0, 4)).encode()
    return safetensors(b'{"%s":%s,"%s":%s}' % (name.encode(), one, name.encode(), one), data)


MANY = b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(300_000)) + b"}"
NAME = "blocks.0.mlp.fc1.weight"

HEADERS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "length beyond the file": lambda: safetensors({}, length=2**20),
    "length beyond all": lambda: safetensors({}, length=2**63),
    "length of all ones": lambda: safetensors({}, length=2**64 - 1),
    "negative offsets": lambda: safetensors({NAME: entry(-4, 0)}, b"\0" * 4),
    "offsets beyond all": lambda: safetensors({NAME: entry(0, 2**64)}, b"\0" * 4),
    "offsets turned round": lambda: safetensors({NAME: entry(4, 0)}, b"\0" * 4),
    "overlapping": lambda: safetensors({NAME: entry(0, 4), "b": entry(0, 4)}, b"\0" * 4),
    "a hole": lambda: safetensors({NAME: entry(4, 8)}, b"\0" * 8),
    "left over": lambda: safetensors({NAME: entry(0, 4)}, b"\0" * 9),
    "a name twice": lambda: _twice(NAME, b"\0" * 4),
    "deep": lambda: safetensors(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "deep notes": lambda: safetensors(
        {"__metadata__": {"recipe": "[" * 200_000 + "]" * 200_000}, NAME: entry(0, 4)}, b"\0" * 4
    ),
    "not UTF-8": lambda: safetensors(b'{"\xff\xfe":' + json.dumps(entry(0, 4)).encode() + b"}", b"\0" * 4),
    "no JSON": lambda: safetensors(b"{'a': __import__('os')}"),
    "a list": lambda: safetensors([1, 2]),
    "shape without end": lambda: safetensors({NAME: entry(0, 0, (0, 2**62, 2**62))}),
    "shape beyond all": lambda: safetensors({NAME: entry(0, 4, (2**63, 2))}, b"\0" * 4),
    "dimensions without end": lambda: safetensors({NAME: entry(0, 4, (1,) * 100_000)}, b"\0" * 4),
    "strange type": lambda: safetensors({NAME: entry(0, 1, dtype="F8_E4M3")}, b"\0"),
    "unknown type": lambda: safetensors({NAME: entry(0, 4, dtype="\x1b[31mF32")}, b"\0" * 4),
    "names that act": lambda: safetensors({f"\x1b[31m\u202e{NAME}\n\rgone": entry(0, 4)}, b"\0" * 4),
    "long name": lambda: safetensors({"a" * 10_000_000: entry(0, 4)}, b"\0" * 4),
    "names without end": lambda: safetensors(MANY),
}


def _pickled(thing: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file, **how)
    return file.getvalue()


def _repacked(thing: Any, grown: str, size: int) -> bytes:
    """A saved thing in an archive that is deflated, one of whose records is grown to so many zeros."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_pickled(thing))) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            with new.open(info.filename, "w", force_zip64=True) as member:
                member.write(old.read(info))
                for _ in range(size // 2**20 if info.filename.endswith(grown) else 0):
                    member.write(bytes(2**20))
    return file.getvalue()


WIDE = torch.zeros(1).expand(10**6, 10**6)

PICKLES: dict[str, Callable[[Path], bytes]] = {
    "code": lambda canary: _pickled({NAME: Touches(canary)}),
    "code beside tensors": lambda canary: _pickled({NAME: torch.zeros(1), "args": Opens(canary)}),
    "code as text": lambda canary: _pickled(Evaluates(canary)),
    "code in the old format": lambda canary: _pickled({NAME: Touches(canary)}, _use_new_zipfile_serialization=False),
    "bare pickle": lambda canary: pickle.dumps(Evaluates(canary)),
    "deep": lambda canary: b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "texts without end": lambda canary: b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.",
    "bytes without end": lambda canary: b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.",
    "deflated pickle": lambda canary: _repacked({NAME: torch.zeros(1)}, "data.pkl", 2**28),
    "deflated storage": lambda canary: _repacked({NAME: torch.zeros(1)}, "data/0", 2**28),
    "a tensor wider than its file": lambda canary: _pickled({"model": {NAME: WIDE, "patch_embed.proj.weight": WIDE}}),
    "two alike, wider than their file": lambda canary: _pickled(
        {key: {NAME: WIDE, "patch_embed.proj.weight": torch.zeros(1).expand(10**6, 10**6)} for key in ("model", "net")}
    ),
    "sparse": lambda canary: _pickled({NAME: torch.sparse_coo_tensor(size=(10**9, 10**9))}),
    "script": lambda canary: _script(),
}


def _script() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), file)
    return file.getvalue()

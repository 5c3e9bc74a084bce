"""Image files that promise too much, hold too much or are something else, by the name that they bear."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

SIDE = 40


def png(width: int, height: int, *chunks: tuple[bytes, bytes], data: bytes = b"") -> bytes:
    """A PNG of whatever header and chunks."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(text)) + name + text + struct.pack(">I", zlib.crc32(name + text)) for name, text in parts
    )


def _whole(kind: str = "PNG", **how: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (9, 9, 9)).save(file, kind, **how)
    return file.getvalue()


def _rows(size: int = SIDE) -> bytes:
    return (b"\0" + bytes(3 * size)) * size


def _gif(width: int, height: int, *, frames: int = 1, own: tuple[int, int] | None = None) -> bytes:
    """A GIF of a screen, and of frames that may be larger than it."""
    side = own or (width, height)
    frame = b"\x21\xf9\x04\0\0\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, *side, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame * frames + b"\x3b"


TAG = struct.Struct("<HHII").pack  # of a TIFF: what, of which type, how many, where
BLANKS = zlib.compress(bytes(200 * 2**20))

# name -> content, whether it must be refused (others may be read, within bounds).
KINDS: dict[str, tuple[Callable[[], bytes], bool]] = {
    "header.png": (lambda: png(2**31 - 1, 2**31 - 1), True),
    "long.png": (lambda: png(2**31 - 1, 1), True),
    "above.png": (lambda: png(10_001, 10_000), True),
    "promise.png": (lambda: png(60_000, 1_000, data=_rows()), True),
    "nothing.png": (lambda: png(0, 0), True),
    "text.png": (lambda: png(SIDE, SIDE, (b"zTXt", b"a\0\0" + BLANKS), data=_rows()), False),
    "itext.png": (lambda: png(SIDE, SIDE, (b"iTXt", b"a\0\1\0\0\0" + BLANKS), data=_rows()), False),
    "profile.png": (lambda: png(SIDE, SIDE, (b"iCCP", b"a\0\0" + BLANKS), data=_rows()), False),
    "pixels.png": (lambda: png(SIDE, SIDE, data=_rows() + bytes(200 * 2**20)), False),
    "animation.png": (
        lambda: png(SIDE, SIDE, (b"acTL", struct.pack(">II", 2**31 - 1, 0)), data=_rows()), False,
    ),
    "exif.png": (lambda: png(SIDE, SIDE, (b"eXIf", b"II*\0\x08\0\0\0" + b"\xff\xff" * 60_000), data=_rows()), False),
    "screen.gif": (lambda: _gif(65_535, 65_535), True),
    "frames.gif": (lambda: _gif(SIDE, SIDE, frames=200_000), False),
    "frame.gif": (lambda: _gif(SIDE, SIDE, own=(65_535, 65_535)), True),
    "cut.jpg": (lambda: _whole("JPEG")[:300], True),
    "header.jpg": (lambda: _whole("JPEG").replace(struct.pack(">HH", SIDE, SIDE), b"\xff\xff\xff\xff"), True),
    "exif.jpg": (lambda: _whole("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 60_000), False),
    "turned.jpg": (
        lambda: _whole("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0\x08\0\0\0"),
        False,
    ),
    "icc.jpg": (lambda: _whole("JPEG", icc_profile=bytes(60_000)), False),
    "header.bmp": (
        lambda: b"BM" + struct.pack("<IHHIIiiHH", 0, 0, 0, 54, 40, 2**31 - 1, -(2**31), 1, 24) + bytes(24), True,
    ),
    "header.ppm": (lambda: b"P6 99999999 99999999 255\n", True),
    "plain.ppm": (lambda: b"P3 " + b"9" * 1000 + b" 1 255\n", True),
    "header.tif": (lambda: b"II*\0\x08\0\0\0\x02\0" + TAG(256, 4, 1, 2**31) + TAG(257, 4, 1, 2**31) + bytes(4), True),
    "loop.tif": (lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0", True),
    "tags.tif": (lambda: b"II*\0\x08\0\0\0\xff\xff" + TAG(270, 2, 2**32 - 1, 8) * 65_535, True),
    "header.webp": (lambda: b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0/" + b"\xff" * 13, True),
    "drawing.png": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', True),
    "program.png": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary) (w) file\n", True),
    "nothing.jpg": (lambda: b"", True),
}  # fmt: skip

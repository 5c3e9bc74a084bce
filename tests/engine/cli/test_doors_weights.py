"""No file of weights runs code, or takes memory or time without end: each is refused in one line that names it."""

import hostile_weights
import pytest
from guard import Guard

from mergebench.weights.encoders import Encoder
from mergebench.weights.states import save_state

SMALL = Encoder("vit_base_patch16_clip_quickgelu_224", {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint that can be merged."""
    folder = tmp_path_factory.mktemp("whole")
    save_state(SMALL.make().state_dict(), folder / "good.safetensors")
    return folder / "good.safetensors"


@pytest.fixture
def guard(command, tmp_path):
    return Guard(command, tmp_path / "canary")


@pytest.fixture
def merge(guard, whole, tmp_path):
    """Merges a hostile expert, or base, with a good one; gives the refusal."""

    def run(expert, base=None, **told):
        files = ("--base", base or whole, "--experts", f"a={expert or whole}", f"b={whole}")
        line = guard.refused("merge", "--method", "average", *files, "--output", tmp_path / "out.safetensors", **told)
        assert not (tmp_path / "out.safetensors").exists()
        return line

    return run


@pytest.mark.parametrize("kind", hostile_weights.HEADERS)
def test_headers(kind, merge, tmp_path):
    file = tmp_path / "hostile.safetensors"
    file.write_bytes(hostile_weights.HEADERS[kind]())
    merge(file, names=file)


@pytest.mark.parametrize("kind", hostile_weights.PICKLES)
def test_pickles(kind, merge, tmp_path):
    file = tmp_path / "hostile.pt"
    file.write_bytes(hostile_weights.PICKLES[kind](tmp_path / "canary"))
    merge(file, names=file, remedy="a pickle's code is never run" if kind.startswith("code") else "")

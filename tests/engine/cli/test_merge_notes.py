"""What `merge` tells of files of one's own goes to the error output, and the merge goes on."""

import pytest
import timm
from safetensors.torch import load_file, save_file

NAME = "vit_base_patch16_clip_quickgelu_224"
OPTIONS = {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1, "mlp_ratio": 2.0}


@pytest.fixture
def plain(tmp_path):
    """Writes a checkpoint whose activation nothing tells; gives its path."""
    state = timm.create_model(NAME, num_classes=0, **OPTIONS).state_dict()

    def write(name, shift=0.0):
        save_file({n: t + shift for n, t in state.items()}, tmp_path / name)
        return tmp_path / name

    return write


def test_an_expert_that_is_the_base_and_an_unknown_activation_are_told(command, plain, tmp_path):
    files = plain("base.safetensors"), plain("same.safetensors")
    files = ("--base", files[0], "--experts", files[1], "--output", tmp_path / "o.safetensors")
    done = command("merge", "--method", "average", *files)
    assert done.status == 0, done
    notes = [line for line in done.err.splitlines() if line.startswith("mergebench: note: ")]
    assert len(notes) == 2 and "'same' is bit for bit the base" in notes[0] and "nothing says whether" in notes[1]
    assert load_file(tmp_path / "o.safetensors").keys() == load_file(files[1]).keys()

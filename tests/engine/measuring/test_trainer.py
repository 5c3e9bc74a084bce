"""What a Trainer is told: where to compute, and in which precision."""

import pytest
import torch

from mergebench.errors import MergebenchError
from mergebench.measuring.devices import placement
from mergebench.measuring.trainer import training_precision


@pytest.mark.parametrize(("has", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_the_precision_is_the_best_that_the_device_has(has, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    able = {"avx512_bf16": not has, "avx512_f": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert training_precision("auto", "gpu") == chosen
    assert training_precision("auto", "cpu") == ("32-true" if has else "bf16-mixed")  # each by its own ability
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert training_precision("auto", "auto") == training_precision("auto", "gpu" if there else "cpu")
    assert training_precision("bf16-mixed", "cpu") == "bf16-mixed"


@pytest.mark.parametrize(("name", "told"), [("fp8", "unknown precision 'fp8'; there are: auto"), ("16-mixed", "GPU")])
def test_a_precision_that_is_not_there_is_named(name, told):
    with pytest.raises(MergebenchError, match=told):
        training_precision(name, "cpu")


def test_a_device_s_name_says_where_to_compute():
    assert placement("cpu") == {"accelerator": "cpu", "devices": 1}
    assert placement("cuda:3") == {"accelerator": "gpu", "devices": [3]}

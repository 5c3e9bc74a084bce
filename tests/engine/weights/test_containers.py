"""Which of several state dicts in a torch checkpoint is read."""

import pytest
import torch

from mergebench.errors import CheckpointError
from mergebench.weights.files import open_weights
from mergebench.weights.states import check_state

RAW, EMA = {"a": torch.zeros(2)}, {"a": torch.ones(2)}


@pytest.mark.parametrize("name", ["e.pth", "e.pth.tar", "e.pt.tar"])
@pytest.mark.parametrize(("preferred", "other"), [("state_dict_ema", "state_dict"), ("model_ema", "model"),
                                                  ("teacher", "student")])  # fmt: skip
def test_what_the_writer_s_own_loader_takes_is_taken_and_told(tmp_path, caplog, name, preferred, other):
    torch.save({"epoch": 9, other: RAW, preferred: EMA, "metric": torch.tensor(0.7)}, tmp_path / name)
    assert open_weights(tmp_path / name)["a"].tolist() == [1, 1]
    (told,) = [record.getMessage() for record in caplog.records]
    assert f"'{preferred}' is taken" in told and f"under '{other}'" in told


@pytest.mark.parametrize("key", ["model", "model_state_dict", "teacher", "ema", "state_dict_ema", "state_dict", "net"])
def test_a_lone_state_dict_is_found_under_its_key_and_nothing_is_told(tmp_path, caplog, key):
    torch.save({"epoch": 1, "optimizer": {"state": {0: torch.zeros(1)}}, key: EMA}, tmp_path / "e.pt")
    assert open_weights(tmp_path / "e.pt")["a"].tolist() == [1, 1] and not caplog.records


@pytest.mark.parametrize("key", [None, "model"])
def test_a_name_that_no_other_file_can_hold_is_refused_and_spelt(tmp_path, key):
    """A pickle holds half a character, which no text file and no terminal takes."""
    state = {"a": torch.zeros(2), "b\ud83d": torch.zeros(2)}
    torch.save(state if key is None else {"epoch": 1, key: state}, tmp_path / "e.pt")
    with pytest.raises(CheckpointError) as caught:
        open_weights(tmp_path / "e.pt")
    assert str(caught.value).endswith(r"e.pt: 'b\ud83d' is no name of a tensor (half a character); rename it")


@pytest.mark.parametrize("keys", [("state_dict", "ema_weights"), ("model", "net"), ("ema", "model", "model_ema")])
def test_where_none_is_known_to_be_meant_both_are_named(tmp_path, keys):
    torch.save({key: RAW for key in keys}, tmp_path / "e.pt")
    with pytest.raises(CheckpointError, match="holds weights under .* and under .*: save the ones that are meant") as e:
        open_weights(tmp_path / "e.pt")
    assert all(repr(key) in str(e.value) for key in keys)


@pytest.fixture(scope="module")
def encoders(mini):
    """Two encoders."""
    return [dict(mini.encoder(seed).state_dict()) for seed in (0, 1)]


@pytest.mark.parametrize(
    "path", [("model",), ("module",), ("whatever",), ("state", "model"), ("model", "state_dict"), ("a", "b", "c")]
)
def test_an_encoder_is_found_wherever_it_is(tmp_path, caplog, encoders, path):
    inner = encoders[0] | {"fc.weight": torch.zeros(2)}
    for key in reversed(path):
        inner = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}, "best": {"acc": torch.ones(())},
                 key: inner}  # fmt: skip
    torch.save(inner, tmp_path / "e.pth")
    assert torch.equal(open_weights(tmp_path / "e.pth")["norm.bias"], encoders[0]["norm.bias"]) and not caplog.records


@pytest.mark.parametrize("keys", [("encoder", "target_encoder"), ("net", "averaged"), ("model", "state_dict")])
def test_two_encoders_of_which_none_is_known_to_be_meant_are_refused_with_both(tmp_path, encoders, keys):
    torch.save(dict(zip(keys, encoders, strict=True)) | {"predictor": {"w": torch.ones(2)}}, tmp_path / "e.pth")
    with pytest.raises(CheckpointError, match=f"under '{keys[0]}' and under '{keys[1]}': save the ones that are meant"):
        open_weights(tmp_path / "e.pth")


def test_numbers_and_texts_among_tensors_are_left_aside_and_told(tmp_path, caplog, encoders):
    odd = {"epoch": 3, "arch": "vit", "lr": 0.1, "optimizer": {"state": {}}, "nothing": None}
    torch.save(odd | encoders[0], tmp_path / "e.pth")
    assert dict(open_weights(tmp_path / "e.pth")).keys() == encoders[0].keys()
    (told,) = (record.getMessage() for record in caplog.records)
    assert "'epoch', 'arch', 'lr' and 2 more among the tensors, no tensor, left aside" in told


def test_one_state_dict_under_two_keys_is_read_once(tmp_path, caplog, encoders):
    copy = {name: tensor.clone() for name, tensor in encoders[0].items()}
    torch.save({"model": encoders[0], "ema": copy, "third": encoders[0]}, tmp_path / "e.pth")
    assert dict(open_weights(tmp_path / "e.pth")).keys() == encoders[0].keys() and not caplog.records


def test_a_wrapped_module_in_a_container_of_another_name_is_found(tmp_path, encoders):
    wrapped = {n.replace("blocks.", "blocks._fsdp_wrapped_module."): t for n, t in encoders[0].items()}
    torch.save({"any": wrapped, "other": {"w": torch.ones(2)}}, tmp_path / "e.pth")
    assert dict(open_weights(tmp_path / "e.pth")).keys() == wrapped.keys()


def test_what_has_no_values_and_what_is_sparse_is_refused_when_it_is_checked(tmp_path, encoders):
    for odd, told in ((torch.zeros(32, device="meta"), "has a shape and no values"),
                      (torch.zeros(32).to_sparse(), "is sparse_coo, which cannot be merged")):  # fmt: skip
        torch.save(encoders[0] | {"norm.weight": odd}, tmp_path / "e.pth")
        with pytest.raises(CheckpointError, match=f"'norm.weight' {told}"):
            check_state(open_weights(tmp_path / "e.pth"), encoders[0], "it")


def test_what_is_larger_than_names_and_settings_are_is_refused_beside_tensors(tmp_path):
    torch.save({"a": torch.zeros(2), "log": "x" * 2**24}, tmp_path / "e.pt")
    told = "e.pt holds 16,777,.* bytes beside its tensors; 16,777,216 are read at most: save the state dict alone"
    with pytest.raises(CheckpointError, match=told):
        open_weights(tmp_path / "e.pt")

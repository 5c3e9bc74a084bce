"""Checkpoints: refused with the tensor and the reason, written whole or not at all."""

import os
import pickle
import resource
import time

import pytest
import torch
from safetensors.torch import save_file

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights import states
from mergebench.weights.states import SafetensorsState, check_state, digest, save_state
from mergebench.weights.writing import check_writable, writing

REFERENCE = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "c": torch.zeros(1)}


def changed(**other):
    return {**{n: t.clone() for n, t in REFERENCE.items()}, **other}


def test_a_state_like_the_reference_passes():
    check_state(changed(), REFERENCE, "it")


def test_a_wrong_shape_names_the_first_differing_tensor_and_both_shapes():
    state = changed(c=torch.zeros(7), b=torch.zeros(5))
    with pytest.raises(
        CheckpointError, match=r"^expert 'x': 'b' is \(5,\), but \(4,\) in the base; is it an expert of"
    ):
        check_state(state, REFERENCE, "expert 'x'")


def test_a_missing_tensor_is_named():
    state = changed()
    del state["b"]
    with pytest.raises(CheckpointError, match=r"it lacks 'b', which is \(4,\) in the base"):
        check_state(state, REFERENCE, "it")


def test_an_extra_tensor_is_named():
    with pytest.raises(CheckpointError, match=r"it has 'head.weight' \(10, 2\), which the base lacks"):
        check_state(changed(**{"head.weight": torch.zeros(10, 2)}), REFERENCE, "it")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_name_file_and_tensor(tmp_path, value):
    path = tmp_path / "expert.safetensors"
    save_file(changed(b=torch.tensor([0.0, value, value, 1.0])), path)
    with pytest.raises(CheckpointError, match="'b' holds 2 values that are NaN or infinite") as caught:
        check_state(SafetensorsState(path), REFERENCE, f"expert 'x' ({path})")
    assert str(path) in str(caught.value)


def test_half_precision_overflow_is_found():
    with pytest.raises(CheckpointError, match="'c' holds 1 values"):
        check_state(changed(c=torch.tensor([1e30]).half()), REFERENCE, "it")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_finite_values_pass_whatever_their_sum_and_opposite_infinities_do_not(dtype):
    largest = torch.finfo(dtype).max
    check_state(changed(b=torch.full((4,), largest, dtype=dtype)), REFERENCE, "it")
    with pytest.raises(CheckpointError, match="'b' holds 2 values"):
        check_state(changed(b=torch.tensor([torch.inf, 1, -torch.inf, largest], dtype=dtype)), REFERENCE, "it")


def test_a_file_is_checked_like_a_dict(tmp_path):
    path = tmp_path / "e.safetensors"
    save_file(changed(a=torch.zeros(3, 2)), path)
    with pytest.raises(CheckpointError, match=r"'a' is \(3, 2\), but \(2, 3\)"):
        check_state(SafetensorsState(path), REFERENCE, "it")


def test_a_file_is_read_once_to_be_checked_and_hashed(tmp_path, monkeypatch):
    path, read = tmp_path / "e.safetensors", []
    save_file(changed(), path)
    monkeypatch.setattr(
        SafetensorsState,
        "__getitem__",
        lambda self, name, get=SafetensorsState.__getitem__: read.append(name) or get(self, name),
    )
    state = SafetensorsState(path)
    check_state(state, REFERENCE, "it")
    assert digest(state) == digest(changed()) and sorted(read) == ["a", "b", "c"]
    assert digest(SafetensorsState(path)) == digest(changed())


def test_a_state_in_memory_is_hashed_as_it_is_now():
    state = changed()
    check_state(state, REFERENCE, "it")
    before = digest(state)
    state["a"] += 1
    assert digest(state) != before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_a_file_gives_back_what_was_saved(tmp_path, dtype):
    path = tmp_path / "new" / "folder" / "e.safetensors"
    state = {"a": torch.arange(6).view(2, 3).to(dtype), "scalar": torch.tensor(3).to(dtype)}
    save_state(state, path, {"note": "hello"})
    read = SafetensorsState(path)
    assert set(read) == {"a", "scalar"}
    assert len(read) == 2
    assert read.metadata == {"note": "hello"}
    for name, value in state.items():
        assert read[name].dtype == dtype
        assert torch.equal(read[name], value)
        assert read.shape(name) == tuple(value.shape)
    assert digest(read) == digest(state)
    with pytest.raises(KeyError):
        read["absent"]


def test_views_that_are_not_contiguous_can_be_saved(tmp_path):
    state = {"a": torch.arange(6.0).view(2, 3).T}
    save_state(state, tmp_path / "e.safetensors")
    assert torch.equal(SafetensorsState(tmp_path / "e.safetensors")["a"], state["a"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint: .*absent.safetensors"):
        SafetensorsState(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 8, 40, -1])
def test_a_truncated_file_is_refused(tmp_path, kept):
    path = tmp_path / "e.safetensors"
    save_file(changed(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"e.safetensors is truncated or no safetensors file"):
        SafetensorsState(path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    save_file(changed(), tmp_path / "e.safetensors")
    monkeypatch.setattr("mergebench.weights.states.safe_open", denied)
    with pytest.raises(CheckpointError, match=r"^cannot read .*e.safetensors: Permission denied$"):
        SafetensorsState(tmp_path / "e.safetensors")


def test_text_is_refused(tmp_path):
    path = tmp_path / "e.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12\n")
    with pytest.raises(CheckpointError, match=r"truncated or no safetensors file"):
        SafetensorsState(path)


class Trap:
    """What a malicious checkpoint would hold: unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


WRITERS = {
    "torch.save, zip": lambda value, path: torch.save(value, path),
    "torch.save, legacy": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "pickle 2": lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2)),
    "pickle 4": lambda value, path: path.write_bytes(pickle.dumps(value, protocol=4)),
    "pickle 5": lambda value, path: path.write_bytes(pickle.dumps(value, protocol=5)),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_pickles_are_refused_unread_with_the_reason(tmp_path, writer, suffix):
    path, sprung = tmp_path / f"expert{suffix}", tmp_path / "sprung"
    WRITERS[writer]({"a": torch.zeros(3), "trap": Trap(sprung)}, path)
    with pytest.raises(CheckpointError, match=r"is a pickle, and reading a pickle can run any code in it: convert it"):
        SafetensorsState(path)
    assert not sprung.exists()


@pytest.mark.parametrize("length", [640, 896, 1152, 1408, 0x4B50])
def test_headers_whose_length_looks_like_the_start_of_a_pickle_are_read(tmp_path, length):
    # A safetensors file begins with its header's length; these lengths begin with a pickle's or a zip's first bytes.
    path = tmp_path / "e.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"note": ""})
    empty = int.from_bytes(path.read_bytes()[:8], "little")
    save_file({"a": torch.ones(2)}, path, metadata={"note": "x" * (length - empty)})
    assert int.from_bytes(path.read_bytes()[:8], "little") == length
    assert SafetensorsState(path)["a"].tolist() == [1.0, 1.0]


def test_a_file_that_takes_another_s_place_is_not_seen_by_who_reads_the_other(tmp_path):
    path = tmp_path / "e.safetensors"
    save_state(changed(a=torch.ones(2, 3)), path)
    read = SafetensorsState(path)
    save_state(changed(a=torch.zeros(2, 3)), path)
    assert read["a"].all() and not SafetensorsState(path)["a"].any()


def test_a_file_that_is_cut_short_while_it_is_read_is_told(tmp_path):
    path = tmp_path / "e.safetensors"
    save_file(changed(), path)
    read = SafetensorsState(path)
    os.truncate(path, path.stat().st_size - 4)
    with pytest.raises(CheckpointError, match=r"e.safetensors was cut short while it was read; its '[abc]' is not"):
        dict(read)


def test_a_type_that_cannot_be_merged_is_told_when_it_is_read(tmp_path):
    save_file(changed(c=torch.zeros(1).to(torch.float8_e4m3fn)), tmp_path / "e.safetensors")
    with pytest.raises(CheckpointError, match=r"'c' is of type F8_E4M3, which cannot be merged"):
        check_state(SafetensorsState(tmp_path / "e.safetensors"), REFERENCE, "it")


def test_what_is_read_may_be_changed_and_outlives_its_state(tmp_path):
    save_file({"a": torch.ones(3), "none": torch.zeros(0, 2)}, tmp_path / "e.safetensors")
    read = SafetensorsState(tmp_path / "e.safetensors")
    tensor = read["a"]
    tensor += 1
    assert read["a"].tolist() == [1, 1, 1] and read["none"].shape == (0, 2)
    del read
    assert tensor.tolist() == [2, 2, 2]


def test_names_and_shapes_are_told_without_reading(tmp_path, monkeypatch):
    save_file(changed(), tmp_path / "e.safetensors")
    read = SafetensorsState(tmp_path / "e.safetensors")
    monkeypatch.setattr(SafetensorsState, "__getitem__", None)
    assert {name: states.shape_of(read, name) for name in read} == {n: tuple(t.shape) for n, t in REFERENCE.items()}
    assert "a" in read and "d" not in read


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "e.safetensors"
    save_state(changed(), path)
    before = path.read_bytes()

    def half(tensors, filename, metadata=None):
        with open(filename, "wb") as file:
            file.write(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states, "save_file", half)
    with pytest.raises(MergebenchError, match=r"cannot write .*e\.safetensors: No space left on device"):
        save_state({"a": torch.ones(5)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_is_told_in_one_line(tmp_path):
    path = tmp_path / "e.safetensors"
    save_state(changed(), path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(MergebenchError, match=r"^cannot write .*e\.safetensors: .*File too large.*$"):
            save_state({"a": torch.ones(30_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with writing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MergebenchError, match=r"cannot write .*file/e.safetensors: .*; choose a folder you may write"):
        save_state(changed(), tmp_path / "file" / "e.safetensors")


def test_saving_changes_nothing(tmp_path):
    state = changed(a=torch.arange(6.0).view(3, 2).T)
    copy = {n: t.clone() for n, t in state.items()}
    save_state(state, tmp_path / "e.safetensors")
    assert all(torch.equal(state[n], copy[n]) for n in copy)


def test_the_digest_is_of_names_dtypes_shapes_and_bytes_in_no_order():
    state = changed(a=torch.arange(6.0).view(2, 3))
    same = dict(reversed(state.items()))
    others = [
        changed(a=torch.arange(6.0).view(3, 2)),
        changed(a=torch.arange(6.0).view(2, 3).double()),
        changed(a=torch.arange(6.0).view(2, 3) + 1e-6),
        {("A" if n == "a" else n): t for n, t in state.items()},
        {n: t for n, t in state.items() if n != "c"},
    ]
    assert digest(same) == digest(state)
    assert digest({n: t.T.contiguous().T if t.ndim == 2 else t for n, t in state.items()}) == digest(state)
    assert len({digest(s) for s in [state, *others]}) == 6


def test_what_a_killed_write_left_is_cleared_up_by_the_next_and_what_is_being_written_is_not(tmp_path):
    path = tmp_path / "x.json"
    dead, young, other = (tmp_path / name for name in (".x.json.abcdefgh", ".x.json.ijklmnop", ".x.json.settings.old"))
    for left in (dead, young, other):
        left.write_text("half")
    for left in (dead, other):
        os.utime(left, (0, 0))
    with writing(path) as first:
        os.utime(first, (0, 0))
        with writing(path) as second:
            second.write_text("second")
        assert first.exists(), "somebody is writing it"
        first.write_text("first")
    assert path.read_text() == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([young.name, other.name, "x.json"])


def test_a_folder_of_many_files_is_looked_through_once_a_minute(tmp_path, monkeypatch):
    """What is younger than a minute is nobody's yet, so that an older list is as good."""
    from mergebench.weights import writing as module

    now, lists, listed = [time.monotonic()], [], os.listdir
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.os, "listdir", lambda folder: lists.append(folder) or listed(folder))

    def write(name):
        with writing(tmp_path / name) as temporary:
            temporary.write_text(name)

    for number in range(50):
        write(f"{number}.json")
    assert lists == [tmp_path]
    dead = tmp_path / ".7.json.abcdefgh"
    dead.write_text("half")
    os.utime(dead, (0, 0))
    now[0] += module.ABANDONED + 1
    write("8.json")
    assert dead.exists(), "another file's is left to who writes that"
    write("7.json")
    assert not dead.exists() and len(lists) == 2


def test_finding_out_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        check_writable(tmp_path / "x.json")
    assert not list(tmp_path.iterdir())
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_tensors_that_share_memory_are_written_each_by_itself(tmp_path):
    one = torch.arange(6.0)
    shared = {"a": one, "b": one, "c": one.view(2, 3), "d": one[2:4], "e": torch.zeros(()).expand(3)}
    save_state(shared, tmp_path / "s.safetensors")
    read = SafetensorsState(tmp_path / "s.safetensors")
    assert list(sorted(read)) == list("abcde") and all(torch.equal(read[n], t) for n, t in shared.items())


def test_what_cannot_take_its_place_is_told_and_leaves_nothing(tmp_path):
    (tmp_path / "page.html").mkdir()
    told = "cannot write .*page.html: Is a directory; move what is there away"
    with pytest.raises(MergebenchError, match=told), writing(tmp_path / "page.html") as temporary:
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]

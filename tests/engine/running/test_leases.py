"""Leases: of many who want a name one has it, whoever is no more loses it, and nobody else does."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mergebench.errors import MergebenchError
from mergebench.running import holders
from mergebench.running.leases import Leases, _read

RACER = """
import os, sys, time
from mergebench.running.leases import Leases
folder, start, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
leases = Leases(folder)
names = [f"cell {(n + 7 * number) % 50}" for n in range(50)]
open(f"{start}-{number}", "w").close()
while not os.path.exists(start):
    time.sleep(0.001)
print(*(name.split()[1] for name in names if leases.claim(name)), flush=True)
sys.stdin.read()
"""
HOLDER = """
import sys, time
from mergebench.running.leases import Leases
leases = Leases(sys.argv[1], float(sys.argv[2]))
print(leases.claim("a"), flush=True)
for line in sys.stdin:
    print(leases.lost("a"), sorted(leases.held), flush=True)
"""


def started(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def holder(tmp_path):
    """A process that holds the name "a"."""
    processes = []

    def start(ttl=120.0):
        processes.append(started(HOLDER, tmp_path / "leases", ttl))
        assert processes[-1].stdout.readline() == "True\n"
        return processes[-1]

    yield start
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def asked(process):
    process.stdin.write("?\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.fixture
def leases(tmp_path):
    with Leases(tmp_path / "leases") as mine:
        yield mine


def edited(path, **changes):
    """The lease as somebody else's, as old as it was."""
    found = path.stat()
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def aged(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_of_eight_processes_each_of_fifty_names_is_won_by_one(tmp_path):
    racers = [started(RACER, tmp_path / "leases", tmp_path / "start", number) for number in range(8)]
    while len(list(tmp_path.glob("start-*"))) < 8:
        time.sleep(0.01)
    (tmp_path / "start").touch()
    won = [process.stdout.readline().split() for process in racers]
    assert sorted(int(n) for names in won for n in names) == list(range(50))
    for process in racers:
        process.kill()
        process.communicate()
    # All are dead, and their names free, at once; again each is won by one.
    racers = [started(RACER, tmp_path / "leases", tmp_path / "again", number) for number in range(8)]
    while len(list(tmp_path.glob("again-*"))) < 8:
        time.sleep(0.01)
    (tmp_path / "again").touch()
    won = [process.stdout.readline().split() for process in racers]
    for process in racers:
        process.communicate()
    assert sorted(int(n) for names in won for n in names) == list(range(50))
    assert files(tmp_path / "leases") == sorted(f"cell {n}.lease" for n in range(50)), "nothing else lies about"


def test_a_name_is_one_s_own_until_it_is_given_back(tmp_path, leases):
    with Leases(tmp_path / "leases") as other:
        assert leases.claim("a") and leases.claim("a") and not other.claim("a")
        assert leases.held == {"a"} and not other.held
        other.release("a")
        assert not other.claim("a"), "what is not one's own is not given back"
        leases.release("a")
        assert not files(tmp_path / "leases") and other.claim("a") and other.held == {"a"}
    assert not files(tmp_path / "leases"), "all is given back in the end"


def test_whoever_is_killed_loses_it_at_once_on_the_same_machine(holder, leases):
    process = holder()
    assert not leases.claim("a")
    process.kill()
    process.wait()
    assert leases.claim("a") and not leases.lost("a")


def test_one_that_nobody_has_waited_for_is_dead(holder, leases):
    process = holder()
    process.kill()
    while Path(f"/proc/{process.pid}/stat").read_text().split(")")[1].split()[0] != "Z":
        time.sleep(0.01)
    assert leases.claim("a")


@pytest.mark.parametrize("other", ["host", "boot", "processes"])
def test_whoever_lives_elsewhere_loses_it_only_when_it_lapses(other, holder, leases, tmp_path):
    process = holder()
    process.kill()
    process.wait()
    path = tmp_path / "leases" / "a.lease"
    edited(path, **{other: "another"})
    assert not leases.claim("a"), "a number of a process there says nothing here"
    aged(path, 121)
    assert leases.claim("a")


def test_another_process_with_the_number_of_one_that_is_no_more_holds_nothing(holder, leases, tmp_path):
    process = holder()
    path = tmp_path / "leases" / "a.lease"
    edited(path, started=json.loads(path.read_text())["started"] - 60)
    assert leases.claim("a") and asked(process) == "True []"


def test_where_the_kernel_does_not_say_whose_processes_are_counted_only_time_tells(monkeypatch, holder, leases):
    process = holder()
    process.kill()
    process.wait()
    monkeypatch.setattr(holders, "_namespace", lambda: "")
    assert not leases.claim("a")


def test_whoever_was_suspended_finds_that_it_is_somebody_else_s(holder, tmp_path):
    process = holder(0.4)
    with Leases(tmp_path / "leases", 0.4) as mine:
        for _ in range(8):  # it is renewed for as long as its holder runs
            time.sleep(0.1)
            assert not mine.claim("a")
        process.send_signal(signal.SIGSTOP)
        end = time.monotonic() + 30
        while not mine.claim("a"):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
        assert asked(process) == "True []"
        time.sleep(0.5)
        assert not mine.lost("a") and mine.held == {"a"}
        process.communicate()  # it ends, and takes nothing with it
        assert not mine.lost("a")


ODD = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(b'{"host": "x", "pi'),
    "another's": lambda path: path.write_bytes(b"\xff\x00 lock of another program"),
    "a list": lambda path: path.write_bytes(b"[1, 2]"),
    "deep": lambda path: path.write_bytes(b"[" * 4000),
    "for ever": lambda path: path.write_text(json.dumps({"ttl": 1e300})),
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_what_is_no_lease_lapses_all_the_same(make, leases, tmp_path):
    path = tmp_path / "leases" / "a.lease"
    path.parent.mkdir()
    make(path)
    assert not leases.claim("a"), "it is young: somebody may be writing it"
    aged(path, 121)
    assert leases.claim("a") and not leases.lost("a")


def test_a_file_from_the_future_lapses_when_it_has_been_watched_for_so_long(tmp_path):
    path = tmp_path / "a.lease"
    path.write_text("{}")
    aged(path, -1e6)
    with Leases(tmp_path, 0.3) as mine:
        assert not mine.claim("a")
        time.sleep(0.35)
        assert mine.claim("a")


def test_a_fresh_lease_that_is_moved_away_by_mistake_is_put_back(tmp_path, leases):
    with Leases(tmp_path / "leases") as other:
        assert leases.claim("a")
        path = tmp_path / "leases" / "a.lease"
        judged = _read(path)
        os.utime(path)  # renewed between the judgement and the act
        assert not other._take_away(path, judged)
        assert not leases.lost("a") and files(path.parent) == ["a.lease"]


@pytest.mark.parametrize("error", [1, 95])
def test_where_files_have_one_name_only_it_is_the_same(error, tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", unknown)
    with Leases(tmp_path) as one, Leases(tmp_path) as other:
        assert one.claim("a") and not other.claim("a")
        aged(tmp_path / "a.lease", 121)
        assert other.claim("a") and one.lost("a") and not one.claim("a")


def test_an_answer_that_the_network_lost_is_no_refusal(tmp_path, monkeypatch, leases):
    link = os.link

    def twice(source, target):
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", twice)
    assert leases.claim("a") and not leases.lost("a")


def test_names_are_no_paths(tmp_path, leases):
    assert all(leases.claim(name) for name in ("../x", ".", "a/b", "a_b", "x" * 1000))
    assert {path.parent for path in tmp_path.rglob("*.lease")} == {tmp_path / "leases"}
    assert len(list(tmp_path.rglob("*.lease"))) == 5


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(
        MergebenchError, match=r"^cannot claim 'a' in \S+/file: Not a directory; choose a folder you may"
    ):
        Leases(tmp_path / "file").claim("a")

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(MergebenchError, match=r"cannot claim 'a' in .*: No space left on device; make room there"):
        Leases(tmp_path).claim("a")
    assert files(tmp_path) == ["file"]
    for ttl in (0, -1, float("nan"), 1e9):
        with pytest.raises(MergebenchError, match="a lease of .* seconds; give more than 0"):
            Leases(tmp_path, ttl)


def test_what_was_closed_and_what_was_forked_claims_nothing(tmp_path):
    leases = Leases(tmp_path)
    assert leases.claim("a")
    pid = os.fork()
    if pid == 0:
        try:
            leases.claim("b")
        except MergebenchError:
            leases.close()
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not leases.lost("a"), "a fork gives nothing back"
    leases.close()
    with pytest.raises(MergebenchError, match="closed; make others"):
        leases.claim("a")


def test_what_killed_processes_left_is_cleared_up(tmp_path, leases):
    folder = tmp_path / "leases"
    folder.mkdir()
    for name in (".a.lease.abcdefgh", f".a.lease.{'0' * 32}.away", ".keep", "b.lease"):
        (folder / name).touch()
        aged(folder / name, 1000)
    assert leases.claim("a")
    assert files(folder) == [".keep", "a.lease", "b.lease"]


def test_leases_are_known_without_torch():
    script = "import sys, mergebench.running.leases; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


class Several(RuleBasedStateMachine):
    """Three processes, as it were, and two names; what each thinks is held to who has what."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.leases = [Leases(self.folder.name) for _ in range(3)]
        self.owner = {}  # name -> who has it
        self.lapsed = set()
        self.robbed = set()  # (who, name)

    @rule(who=st.integers(0, 2), name=st.sampled_from("ab"))
    def claim(self, who, name):
        owner = self.owner.get(name)
        free = owner is None or owner == who or name in self.lapsed
        assert self.leases[who].claim(name) == free
        if free:
            if owner not in (None, who):
                self.robbed.add((owner, name))
            if owner != who:
                self.lapsed.discard(name)
            self.owner[name] = who
            self.robbed.discard((who, name))

    @rule(who=st.integers(0, 2), name=st.sampled_from("ab"))
    def release(self, who, name):
        self.leases[who].release(name)
        self.robbed.discard((who, name))
        if self.owner.get(name) == who:
            del self.owner[name]
            self.lapsed.discard(name)

    @precondition(lambda self: self.owner)
    @rule(data=st.data())
    def suspended(self, data):
        name = data.draw(st.sampled_from(sorted(self.owner)))
        aged(Path(self.folder.name) / f"{name}.lease", 1000)
        self.lapsed.add(name)

    @rule(name=st.sampled_from("ab"))
    def damaged(self, name):
        if name not in self.owner:
            path = Path(self.folder.name) / f"{name}.lease"
            path.write_bytes(b"{")
            aged(path, 1000)

    @invariant()
    def known(self):
        for who, leases in enumerate(self.leases):
            for name in "ab":
                assert leases.lost(name) == ((who, name) in self.robbed)
                assert (name in leases.held) == (self.owner.get(name) == who)

    def teardown(self):
        for leases in self.leases:
            leases.close()
        self.folder.cleanup()


TestSeveral = Several.TestCase
TestSeveral.settings = settings(max_examples=25, stateful_step_count=20, deadline=None, derandomize=True)

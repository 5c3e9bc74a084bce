"""Fetching from the hub: a server that answers as the hub does, in front of a folder; its connections can be cut."""

import hashlib
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import save

from mergebench.errors import MergebenchError
from mergebench.weights.formats import open_weights
from mergebench.weights.hub import Hub, is_location

PARTS = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Mirror(http.server.ThreadingHTTPServer):
    """A hub of the files in a folder: `owner/name/file` models, `datasets/owner/name/file` data sets."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.asked, self.cut_after, self.busy = folder, [], None, None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server: Mirror = self.server
        path = self.path.split("?")[0].strip("/")
        server.asked.append((self.command, path, self.headers.get("Range")))
        if server.busy:
            return self._refuse("", server.busy)
        kind, found, rest = path.partition("/resolve/")
        if found:
            revision, _, name = rest.partition("/")
            return self._file(server.folder / kind, revision, name)
        if path.startswith("api/") and "/revision/" in path:
            repository = path.removeprefix("api/").removeprefix("models/").split("/revision/")[0]
            folder = server.folder / repository
            if not folder.is_dir():
                return self._refuse("RepoNotFound", 401)
            names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
            told = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
            return self._send(json.dumps(told).encode(), {"Content-Type": "application/json"})
        if path.startswith("api/") and "/tree/" in path:
            repository, _, rest = path.removeprefix("api/").removeprefix("models/").partition("/tree/")
            files = sorted(p for p in (server.folder / repository).rglob("*") if p.is_file())
            told = [
                {
                    "type": "file",
                    "path": str(p.relative_to(server.folder / repository)),
                    "size": p.stat().st_size,
                    "oid": "0" * 40,
                }
                for p in files
            ]
            return self._send(json.dumps(told).encode(), {"Content-Type": "application/json"})
        return self._refuse("RepoNotFound", 404)

    def _file(self, folder: Path, revision: str, name: str) -> None:
        if not folder.is_dir():
            return self._refuse("RepoNotFound", 401)
        if revision not in ("main", COMMIT):
            return self._refuse("RevisionNotFound", 404)
        if not (folder / name).is_file():
            return self._refuse("EntryNotFound", 404)
        content = (folder / name).read_bytes()
        tag = hashlib.sha256(content).hexdigest()
        return self._send(content, {"ETag": f'"{tag}"', "Accept-Ranges": "bytes"})

    def _send(self, content: bytes, headers: dict[str, str]) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if self.headers.get("Range") else 200)
        for name, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(len(content) - start)}.items():
            self.send_header(name, value)
        if self.headers.get("Range"):
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            cut = self.server.cut_after
            self.wfile.write(content[start:] if cut is None else content[start : start + cut])
            if cut is not None:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, code: str, status: int) -> None:
        self.send_response(status)
        for name, value in {"X-Error-Code": code, "X-Repo-Commit": COMMIT, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirror")
    for path, content in {
        "openai/clip/config.json": b"{}",
        "openai/clip/pytorch_model.bin": b"weights",
        "some/large/model.safetensors": os.urandom(30_000_000),
        "some/parts/model.safetensors.index.json": json.dumps({"weight_map": PARTS}).encode(),
        **{f"some/parts/{file}": save({name: torch.ones(2)}) for name, file in PARTS.items()},
        "some/many/runs/mnist/last.safetensors": save({"a.weight": torch.ones(2)}),
        "some/many/runs/mnist/config.json": b"{}",
        "some/many/runs/dtd/model.safetensors": save({"a.weight": torch.zeros(2)}),
        "some/many/runs/svhn/adapter_config.json": b"{}",
        "datasets/some/digits/data/train.parquet": b"train",
        "datasets/some/digits/data/test.parquet": b"test",
        "datasets/some/digits/README.md": b"about",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    server = Mirror(folder)
    yield server
    server.shutdown()


# huggingface_hub tries again after ever longer pauses; here it does so at once.
SCRIPT = """
import json, sys, time
from pathlib import Path
time.sleep = lambda seconds: None
from mergebench.errors import MergebenchError
from mergebench.weights.hub import Hub
for arguments in json.loads(sys.argv[1]):
    try:
        hub = Hub(download="--no-download" not in arguments)
        verb, location, *names = [a for a in arguments if a != "--no-download"]
        kind = "dataset" if verb == "folder" else "model"
        if verb == "weights":
            from mergebench.zoo.zoo_files import find_checkpoint
            found = find_checkpoint(location, Path(), hub)
        else:
            found = getattr(hub, verb)(location, names)
        print(found, hub.revision(location, kind), sep="|")
    except MergebenchError as error:
        print("refused:", error)
"""


@pytest.fixture
def ask_all(mirror, tmp_path):
    """Ask the hub in a process of its own, for huggingface_hub reads its settings when it is imported."""

    def asked(questions: list[tuple[str, ...]], **settings: str) -> list[str]:
        mirror.asked.clear()
        home = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": mirror.address, "HF_HUB_OFFLINE": "0"}
        environment = {**os.environ, **home, **settings}
        command = [sys.executable, "-c", SCRIPT, json.dumps(questions)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == len(questions), done.stdout
        return lines

    return asked


@pytest.fixture
def ask(ask_all):
    """Ask one question."""
    return lambda *arguments, **settings: ask_all([arguments], **settings)[0]


def test_a_file_is_fetched_once_and_known_by_its_commit(ask, mirror):
    path, commit = ask("file", "openai/clip", "model.safetensors", "pytorch_model.bin").split("|")
    assert Path(path).read_bytes() == b"weights" and commit == COMMIT
    again = ask("file", "openai/clip", "model.safetensors", "pytorch_model.bin", HF_HUB_OFFLINE="1")
    assert again == f"{path}|{COMMIT}" and mirror.asked == []


def test_a_pinned_commit_is_asked_for(ask, mirror):
    assert ask("file", f"openai/clip@{COMMIT}", "config.json").endswith(COMMIT)
    assert all(f"/resolve/{COMMIT}/" in path for _, path, _ in mirror.asked if "resolve" in path)


def test_weights_in_several_files_are_fetched_whole(ask):
    path, commit = ask("weights", "some/parts").split("|")
    assert {n: t.tolist() for n, t in open_weights(path).items()} == dict.fromkeys(PARTS, [1, 1]) and commit == COMMIT


@pytest.mark.long
def test_paths_inside_a_repository_are_fetched_alone_and_known_by_their_commit(ask_all, mirror):
    places = {
        "some/many/runs/mnist/last.safetensors": ("last.safetensors", [1, 1]),
        "some/many/runs/mnist/last.safetensors@main": ("last.safetensors", [1, 1]),
        f"some/many/runs/dtd@{COMMIT}": ("model.safetensors", [0, 0]),
    }
    questions = [("weights", place) for place in places]
    lines = ask_all(questions)
    for line, (name, values) in zip(lines, places.values(), strict=True):
        path, commit = line.split("|")
        assert open_weights(path)["a.weight"].tolist() == values and Path(path).name == name and commit == COMMIT
    wanted = [re.search(r"/resolve/[^/]+/(.*)", p) for verb, p, _ in mirror.asked if verb == "GET"]
    fetched = {found[1] for found in wanted if found and not found[1].endswith("config.json")}
    assert fetched == {"runs/mnist/last.safetensors", "runs/dtd/model.safetensors"}
    assert ask_all(questions, HF_HUB_OFFLINE="1") == lines and mirror.asked == []


@pytest.mark.long
def test_paths_that_are_not_there_are_named(ask_all):
    places = {
        "some/many/runs/mnist/first.pt": "on the hub: the hub's model 'some/many/runs/mnist' has no first.pt",
        "some/many/runs/mnist/last.safetensors@v9": "'some/many/runs/mnist@v9': it has no such revision",
        "some/many/runs/cars": "the hub's model 'some/many/runs/cars' has no model.safetensors or",
        "some/none/runs/mnist/last.pt": "'some/none/runs/mnist': there is none on the hub",
        "runs/last.pt": "no such checkpoint: runs/last.pt",
    }
    for line, (place, told) in zip(ask_all([("weights", p) for p in places]), places.items(), strict=True):
        assert line.startswith("refused:") and told in line and place in line


@pytest.mark.long
def test_an_adapter_may_lie_at_a_path_inside_a_repository(ask):
    assert ask("weights", "some/many/runs/svhn").endswith(f"/runs/svhn/adapter_config.json|{COMMIT}")


@pytest.mark.parametrize("asked", [("file", "openai/clip", "config.json"), ("folder", "some/digits", "*")])
@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (429, "wait, or log in with `hf auth login`"),
        (503, "try again later"),
        (403, "taken down"),
        (401, "log in with `hf auth login` (renew or unset HF_TOKEN if it is stale)"),
    ],
)
def test_a_hub_that_lets_nobody_in_is_not_taken_for_one_out_of_reach(ask, mirror, asked, status, remedy):
    mirror.busy = status
    try:
        line = ask(*asked)
    finally:
        mirror.busy = None
    assert line.startswith("refused:") and f"the hub answered {status}: " in line and remedy in line


def test_of_a_data_set_only_the_files_asked_for_are_fetched(ask):
    path, commit = ask("folder", "some/digits", "data/test*").split("|")
    assert [p.name for p in Path(path).rglob("*") if p.is_file()] == ["test.parquet"] and commit == COMMIT


def test_a_download_that_was_cut_off_goes_on_where_it_was(ask, mirror):
    mirror.cut_after = 12_000_000
    try:
        line = ask("file", "some/large", "model.safetensors")
    finally:
        mirror.cut_after = None
    if line.startswith("refused"):  # huggingface_hub may have gone on by itself
        assert "'some/large'" in line and "kept" in line
        line = ask("file", "some/large", "model.safetensors")
    assert any(wanted not in (None, "bytes=0-") for _, _, wanted in mirror.asked)
    assert Path(line.split("|")[0]).read_bytes() == (mirror.folder / "some/large/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (("file", "openai/clap", "config.json"), {}, "'openai/clap': there is none on the hub, or it is private"),
        (("file", "openai/clip", "tokenizer.json"), {}, "'openai/clip' has no tokenizer.json"),
        (("file", "openai/clip@v9", "config.json"), {}, "'openai/clip@v9': it has no such revision"),
        (("file", "openai/clip", "config.json"), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids"),
        (("file", "openai/clip", "config.json", "--no-download"), {}, "`mergebench fetch` does that"),
        (("folder", "some/nothing", "*"), {}, "'some/nothing': there is none on the hub"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(ask, arguments, settings, told):
    line = ask(*arguments, **settings)
    assert line.startswith("refused:") and told in line and "\n" not in line


def test_no_network_is_said_in_one_line(ask):
    line = ask("file", "openai/clip", "model.safetensors", "config.json", HF_ENDPOINT="http://127.0.0.1:9")
    assert "the hub cannot be reached" in line and "--zoo-root" in line and "\n" not in line


def test_a_folder_takes_the_hub_s_place(mirror):
    hub = Hub(mirror.folder)
    assert hub.file("openai/clip", ("model.safetensors", "pytorch_model.bin")).name == "pytorch_model.bin"
    assert hub.folder("some/digits@main", ()) == mirror.folder / "datasets/some/digits"
    assert hub.revision("openai/clip") == ""
    assert hub.file("some/many/runs/dtd@v2", ("model.safetensors",)).parent == mirror.folder / "some/many/runs/dtd"
    for ask, told in (
        (lambda: hub.file("openai/clip", ("no.json",)), "no.json"),
        (lambda: hub.file("nobody/clip", ("config.json",)), "no model 'nobody/clip'"),
        (lambda: hub.file("some/many/runs/cars", ("config.json",)), "some/many has no runs/cars"),
        (lambda: hub.folder("nobody/digits", ()), "no data set 'nobody/digits'"),
    ):
        with pytest.raises(MergebenchError, match=told):
            ask()


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("openai/clip", True),
        ("a/b@main", True),
        ("a/b/c/d.pt@refs/pr/1", True),
        ("clip", False),
        ("a/b/", False),
        ("a/b/../c", False),
        ("/a/b/c", False),
        ("a/b@", False),
        ("./a b/c", False),
    ],
)
def test_locations(text, is_one):
    assert is_location(text) == is_one


def test_a_data_set_is_a_whole_repository():
    assert is_location("a/b@main", inside=False) and not is_location("a/b/c", inside=False)


def failing(kind, *told):
    """An error of huggingface_hub's, without the answer that it came of."""
    return kind(*told) if told else kind.__new__(kind)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (failing(errors.GatedRepoError), "its owner asks you to accept terms: do so on its page, then log in with"),
        (failing(errors.RepositoryNotFoundError), "there is none on the hub, or it is private: check the name, or log"),
        (failing(errors.RevisionNotFoundError), "it has no such revision; correct what stands behind @, or leave"),
        (
            failing(errors.HFValidationError, "Cannot have -- or .. in repo_id.\nNo."),
            "Cannot have -- or .. in repo_id; check the name",
        ),
        (failing(ConnectionError, "cut off\nhere"), "cut off; what was fetched is kept: try again"),
        (failing(TimeoutError), "TimeoutError; what was fetched is kept: try again"),
    ],
)
def test_what_the_hub_s_library_says_is_one_line_with_what_helps(error, told, monkeypatch):
    def fails(*_, **__):
        raise error

    for call in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(f"huggingface_hub.{call}", fails)
    for ask in (lambda: Hub().file("a/b@v9", ["config.json"]), lambda: Hub().folder("a/b@v9", ["*"])):
        with pytest.raises(MergebenchError) as caught:
            ask()
        assert str(caught.value).startswith(f"cannot fetch 'a/b@v9': {told}") and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["clip", "a b/c", "../a/b", "a/b@"])
def test_what_is_no_place_on_the_hub_is_told_with_the_form(place, tmp_path):
    for hub in (Hub(tmp_path), Hub()):
        with pytest.raises(MergebenchError) as caught:
            hub.file(place, ["config.json"])
        assert str(caught.value) == f"{place!r} is no place on the hub; write owner/name or owner/name@revision"

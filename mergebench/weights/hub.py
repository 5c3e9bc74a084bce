"""Files on the Hugging Face hub, or in a folder laid out as it is: found, downloaded, and named by their commit."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from mergebench.errors import MergebenchError
from mergebench.weights.footing import rests_elsewhere

Kind = Literal["model", "dataset"]
Found = TypeVar("Found")

_LOCATION = re.compile(r"(?P<id>\w[\w.-]*/\w[\w.-]*?)(?P<inside>(?:/\w[\w.+-]*?)*)(?:@(?P<revision>[\w./-]+))?")


def is_location(text: str, inside: bool = True) -> bool:
    """Whether a text has the form `owner/name[/path/inside][@revision]` of a place on the hub.

    Args:
        text: what may be one.
        inside: whether it may name a path inside a repository.
    """
    match = _LOCATION.fullmatch(text)
    return match is not None and (inside or not match["inside"])


class HubError(MergebenchError):
    """Nothing can be fetched for now: whatever else is asked for will fail alike."""


class Hub:
    """Where models and data sets are fetched from.

    What was downloaded once is found again in huggingface_hub's cache (`HF_HOME`); a download that was broken off goes
    on. `HF_ENDPOINT` (a mirror) and `HF_HUB_OFFLINE` are honoured.

    Args:
        root: a folder in place of the hub: `owner/name` in it are models, `datasets/owner/name` data sets.
        download: whether what is not there yet may be downloaded.

    Raises:
        MergebenchError: there is no such folder.
    """

    def __init__(self, root: Path | None = None, download: bool = True) -> None:
        if root is not None and not root.is_dir():
            raise MergebenchError(f"no folder in the hub's place at {root} (--zoo-root)")
        self.root, self.download = root, download
        self._commits: dict[tuple[str, str | None, Kind], str] = {}

    def file(self, location: str, names: Sequence[str], kind: Kind = "model") -> Path:
        """The first of these files that there is.

        Args:
            location: `owner/name[/path/inside][@revision]`.
            names: in the order of preference, below that path.
            kind: what it is.

        Raises:
            MergebenchError: there is none, or it cannot be reached.
        """
        found = self.optional_file(location, names, kind)
        if found is None:
            raise MergebenchError(f"{self._told(location, kind)} has no {' or '.join(names)}")
        return found

    def optional_file(self, location: str, names: Sequence[str], kind: Kind = "model") -> Path | None:
        """As `file`; None if there is no such file where the rest is."""
        if self.root is not None:
            folder = self._local(self.root, location, kind)
            return next((folder / name for name in names if (folder / name).is_file()), None)
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        repository, inside, revision = _parts(location)
        reached, reason = self.download, None

        def get(name: str, offline: bool) -> str:
            return hf_hub_download(repository, name, repo_type=kind, revision=revision, local_files_only=offline)

        for name in (inside + name for name in names):
            try:
                path = Path(self._asked(partial(get, name, not reached), location))
            except LocalEntryNotFoundError as error:
                # The next name is looked for in the cache alone: another try would take as long.
                reached, reason = False, reason or error
            except EntryNotFoundError:
                continue
            else:
                self._commits[repository, revision, kind] = path.parents[len(Path(name).parts) - 1].name
                return path
        if not reached:
            raise self._unreachable(location, reason)
        return None

    def known_file(self, location: str, names: Sequence[str], kind: Kind = "model") -> Path | None:
        """As `optional_file`; None too where it cannot be found out: what else is asked for will tell why.

        What huggingface_hub's cache knows, that a file is there or that it is not, is not asked for again.
        """
        if self.root is None:
            from huggingface_hub import try_to_load_from_cache

            repository, inside, revision = _parts(location)
            wanted = [inside + name for name in names]
            cached = [try_to_load_from_cache(repository, n, revision=revision, repo_type=kind) for n in wanted]
            known = next((path for path in cached if isinstance(path, str)), None)
            if known or all(cached):  # a mark of its own says that there is no such file
                return Path(known) if known else None
        try:
            return self.optional_file(location, names, kind)
        except MergebenchError:
            return None

    def folder(self, location: str, patterns: Sequence[str], kind: Kind = "dataset") -> Path:
        """The folder of a repository with all files that match one of the patterns in it; raises as `file` does."""
        if self.root is not None:
            return self._local(self.root, location, kind)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        repository, _, revision = _parts(location)

        def get() -> str:
            return snapshot_download(
                repository, repo_type=kind, revision=revision, allow_patterns=list(patterns),
                local_files_only=not self.download,
            )  # fmt: skip

        try:
            path = Path(self._asked(get, location))
        except LocalEntryNotFoundError as error:
            raise self._unreachable(location, error) from None
        self._commits[repository, revision, kind] = path.name
        return path

    def names(self, location: str, kind: Kind = "dataset") -> list[str]:
        """The names of all files of a repository, where that can be asked now; otherwise nothing."""
        if self.root is not None:
            folder = self._local(self.root, location, kind)
            return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        from huggingface_hub import list_repo_files

        repository, _, revision = _parts(location)
        try:
            ask = lambda: list_repo_files(repository, repo_type=kind, revision=revision)  # noqa: E731
            return self._asked(ask, location) if self.download else []
        except MergebenchError:
            return []

    def revision(self, location: str, kind: Kind = "model") -> str:
        """The commit of what was found at a location; empty in a folder, which knows of none."""
        match = _LOCATION.fullmatch(location)
        return self._commits.get((match["id"], match["revision"], kind), "") if match else ""

    @staticmethod
    def _local(root: Path, location: str, kind: Kind) -> Path:
        repository, inside, _ = _parts(location)
        folder = root / ("datasets" if kind == "dataset" else "") / repository
        if not folder.is_dir():
            raise MergebenchError(f"no {_spelt(kind)} {location!r} in {root}: there is no folder {folder}")
        if not (folder / inside).exists():
            raise MergebenchError(f"no {_spelt(kind)} {location!r} in {root}: {folder} has no {inside}")
        return folder / inside

    def _told(self, location: str, kind: Kind) -> str:
        if self.root is not None:
            return str(self._local(self.root, location, kind))
        return f"the hub's {_spelt(kind)} {location!r}"

    def _unreachable(self, location: str, error: Exception | None = None) -> MergebenchError:
        """Why something that is not there yet was not downloaded; `error`: what huggingface_hub made of it."""
        from huggingface_hub.constants import HF_HUB_OFFLINE

        if not self.download:
            return HubError(f"{location!r} has not been fetched; `mergebench fetch` does that")
        if HF_HUB_OFFLINE:
            return HubError(f"{location!r} has not been fetched, and HF_HUB_OFFLINE forbids to do so now; unset it")
        answer = getattr(error and error.__cause__, "response", None)
        if answer is not None:  # it can be reached, and says no
            return _refused(location, answer.status_code)
        return HubError(
            f"{location!r} has not been fetched, and the hub cannot be reached; check the network, name a mirror "
            "(HF_ENDPOINT), or give a folder that holds it (--zoo-root); what was fetched is kept"
        )

    def _asked(self, fetch: Callable[[], Found], location: str) -> Found:
        """What a call to huggingface_hub gives; its errors in one line, but for those of files that are not there."""
        from huggingface_hub import errors, logging

        told = logging.get_verbosity()
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it would tell of every try to reach the hub
        try:
            return fetch()
        except errors.EntryNotFoundError:
            raise
        except errors.GatedRepoError:
            reason = "its owner asks you to accept terms: do so on its page, then log in with `hf auth login`"
        except errors.RepositoryNotFoundError:
            reason = "there is none on the hub, or it is private: check the name, or log in with `hf auth login`"
        except errors.RevisionNotFoundError:
            reason = "it has no such revision; correct what stands behind @, or leave it out"
        except errors.OfflineModeIsEnabled:
            raise self._unreachable(location) from None
        except errors.HFValidationError as error:
            reason = f"{str(error).splitlines()[0].rstrip('.')}; check the name"
        except errors.HfHubHTTPError as error:
            raise _refused(location, error.response.status_code) from None
        except Exception as error:  # libraries below raise many kinds of errors of a network that fails
            first = (str(error).splitlines() or [type(error).__name__])[0]
            reason = f"{first}; what was fetched is kept: try again"
        finally:
            logging.set_verbosity(told)
        raise MergebenchError(f"cannot fetch {location!r}: {reason}")


def _refused(location: str, status: int) -> MergebenchError:
    """What the hub's answer means, and what helps."""
    told = f"cannot fetch {location!r}: the hub answered {status}"
    if status == 429:
        return HubError(f"{told}: too much is asked of it from here; wait, or log in with `hf auth login`")
    if status >= 500:
        return HubError(f"{told}: try again later; what was fetched is kept")
    if status == 401:
        told += ": it knows you not"
        return MergebenchError(f"{told}; log in with `hf auth login` (renew or unset HF_TOKEN if it is stale)")
    return MergebenchError(f"{told}: it is closed to you, or was taken down")


def _parts(location: str) -> tuple[str, str, str | None]:
    """`owner/name[/path/inside][@revision]` -> (owner/name, "path/inside/" or nothing, revision)."""
    rests_elsewhere(f"{location} is looked for on the hub, or in a folder in its place")
    match = _LOCATION.fullmatch(location)
    if match is None:
        raise MergebenchError(f"{location!r} is no place on the hub; write owner/name or owner/name@revision")
    inside = match["inside"].removeprefix("/")
    return match["id"], inside and f"{inside}/", match["revision"]


def _spelt(kind: Kind) -> str:
    return "data set" if kind == "dataset" else kind

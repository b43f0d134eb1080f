"""What is in one revision of a git repository, as untrusted data.

Only plumbing is used, which runs nothing that the repository names: no hooks, no filters, no fetching. Whatever its
configuration says, nothing leaves or enters the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from labrpc.errors import UsageError
from tester.grade.sources import MOST_FILE, MOST_MEMBERS, Kind, Member, Refused

__all__ = ["GitSource", "git_folder"]

_MOST_LISTING = 32 << 20
_PATIENCE_S = 60.0
_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LC_ALL": "C",
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "none",
}
_SETTINGS = ("safe.directory=*", "protocol.allow=never", "core.fsmonitor=false", f"core.hooksPath={os.devnull}")


def git_folder(path: Path) -> Path | None:
    """The git folder of the repository at `path`, bare or not; None: there is none.

    Raises:
        Refused: it points at another repository.
    """
    inner = path / ".git"
    if os.path.lexists(inner):
        if inner.is_symlink() or not inner.is_dir():
            raise Refused("its .git is not a folder but points elsewhere; hand in a clone of its own")
        return inner
    is_bare = (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()
    return path if is_bare else None


class GitSource:
    """Revision `rev` of the repository whose git folder is `folder`.

    Raises:
        Refused: there is no such revision, or its objects are in another repository.
        UsageError: there is no git on this machine.
    """

    def __init__(self, folder: Path, rev: str = "HEAD") -> None:
        program = shutil.which("git")
        if program is None:
            raise UsageError("a submission is a git repository, and git is not installed here")
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        self._command = [program, *settings, "--no-pager", f"--git-dir={folder.resolve()}"]
        for elsewhere in ("objects/info/alternates", "commondir"):
            if os.path.lexists(folder / elsewhere):
                raise Refused(f"its objects are in another repository ({elsewhere}); hand in a clone of its own")
        for part in (folder / "HEAD", folder / "objects", folder / "refs"):
            if part.is_symlink():
                raise Refused(f"{part.name} of its git folder is a symbolic link")
        commit = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}", optional=True)
        if not commit.strip():
            raise Refused(f"the repository has no commit {rev[:100]!a}")
        self.commit = commit.decode("ascii").strip()
        self._objects: dict[str, tuple[str, int]] = {}
        """path -> its object, and the bytes that has."""

    @property
    def committed_at(self) -> float:
        """When it says that it was committed, in seconds since 1970: the student's own clock."""
        head = self._run("cat-file", "commit", self.commit).partition(b"\n\n")[0]
        for line in head.splitlines():
            if line.startswith(b"committer "):
                with contextlib.suppress(ValueError, OverflowError):
                    return float(int(line.rsplit(b" ", 2)[1]))
        raise Refused("its last commit does not say when it was made")

    def members(self) -> Iterator[Member]:
        listing = self._run("ls-tree", "-r", "-z", "-l", "--full-tree", self.commit)
        lines = listing.split(b"\0")[:-1]
        if len(lines) > MOST_MEMBERS:
            raise Refused(f"the repository has more than {MOST_MEMBERS} files")
        for line in lines:
            facts, _, name = line.partition(b"\t")
            mode, _, identity, size = facts.split()
            path = os.fsdecode(name)
            kind = _kind(int(mode, 8))
            if kind is Kind.FILE:
                self._objects[path] = (identity.decode("ascii"), int(size))
            yield Member(path, kind)

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        found = {}
        for path in paths:
            identity, size = self._objects[path]
            is_too_large = size > MOST_FILE
            found[path] = bytes(MOST_FILE + 1) if is_too_large else self._run("cat-file", "blob", identity, most=size)
        return found

    def _run(self, *arguments: str, most: int = _MOST_LISTING, optional: bool = False) -> bytes:
        with subprocess.Popen(
            [*self._command, *arguments],
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            data = process.stdout.read(most + 1)
            if len(data) > most:
                process.kill()
                raise Refused(f"git {arguments[0]} says more than {most} bytes")
            try:
                code = process.wait(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Refused("git does not come to an end on it") from None
        if code and not optional:
            raise Refused(f"git {arguments[0]} cannot read the repository: it is damaged, or not whole")
        return data


def _kind(mode: int) -> Kind:
    if stat.S_IFMT(mode) == stat.S_IFLNK:
        return Kind.LINK
    return Kind.FILE if stat.S_IFMT(mode) == stat.S_IFREG else Kind.OTHER

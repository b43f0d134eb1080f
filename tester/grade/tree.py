"""The folder of results: each file written whole or not at all, and nothing of others touched.

    with Tree(out) as tree:
        tree.write("class.csv", b"…")

`made.json` in it lists what was made, with hashes. A later writing removes what it does not make again, if the file is
still as it was made: what anybody else put there, or has changed, stays. `made.log` is that list while files are being
written, so that after a kill they are still known as ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Self

from labrpc.errors import HarnessError, UsageError

__all__ = ["MADE", "Tree"]

MADE = "made.json"
_LOG = "made.log"


class Tree:
    """The files below `out` that are ours. Left by an exception, it removes nothing.

    Raises:
        UsageError: on entry and on leaving, `out` cannot be written to.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._before: dict[str, set[str]] = {}
        self._now: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._read()
        except OSError as error:
            raise self._refused(error) from error
        return self

    def write(self, path: str, content: bytes) -> None:
        """Makes the file `path`, relative and with /, hold `content`.

        Raises:
            UsageError: it cannot be written.
            HarnessError: the path leads out of the folder, or was written already.
        """
        if not _is_inside(path) or path in (MADE, _LOG) or path in self._now:
            raise HarnessError(f"{path!r} is no path of a new file within the results")
        digest = hashlib.sha256(content).hexdigest()
        self._now[path] = digest
        try:
            if digest not in self._before.get(path, ()):
                with (self._out / _LOG).open("a", encoding="utf-8") as log:
                    log.write(json.dumps([path, digest]) + "\n")
            _write(self._out / path, content)
        except OSError as error:
            raise self._refused(error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            return
        try:
            for path in sorted(self._before.keys() - self._now.keys()):
                self._remove(path)
            listed = json.dumps({"version": 1, "files": self._now}, indent=1, sort_keys=True)
            _write(self._out / MADE, f"{listed}\n".encode())
            (self._out / _LOG).unlink(missing_ok=True)
        except OSError as refused:
            raise self._refused(refused) from refused

    def _read(self) -> None:
        """What earlier writings made; a list that is not there, or none of ours, holds nothing."""
        with contextlib.suppress(FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
            for path, digest in json.loads((self._out / MADE).read_text(encoding="utf-8"))["files"].items():
                self._before.setdefault(str(path), set()).add(str(digest))
        with contextlib.suppress(FileNotFoundError):
            for line in (self._out / _LOG).read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, TypeError):  # cut short by a kill
                    path, digest = json.loads(line)
                    self._before.setdefault(str(path), set()).add(str(digest))

    def _remove(self, path: str) -> None:
        old = self._out / path
        if not _is_inside(path) or old.is_symlink() or not old.is_file():
            return
        if not old.resolve().is_relative_to(self._out.resolve()):  # a folder in between leads elsewhere
            return
        if hashlib.sha256(old.read_bytes()).hexdigest() not in self._before[path]:
            return
        old.unlink()
        for folder in old.parents:
            if folder == self._out:
                break
            try:
                folder.rmdir()
            except OSError:  # something else is in it
                break

    def _refused(self, error: OSError) -> UsageError:
        return UsageError(f"cannot write results to {self._out}: {error}")


def _is_inside(path: str) -> bool:
    return not {"", ".", ".."} & set(path.split("/")) and "\\" not in path and "\0" not in path


def _write(path: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):
        if not path.is_symlink() and path.read_bytes() == content:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".new-{path.name}")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

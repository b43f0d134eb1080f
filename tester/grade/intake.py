"""Submissions as they are handed in, taken safely: folders, archives, git repositories, or many of them in one.

    PATH or PATH@REV --find--> one candidate or many --take, each in a process of its own--> Submission or Refusal

Of each, raft/**/*.py and kvraft/**/*.py are taken, at its top or one folder down, and nothing else. A submission that
tries a trick, or that can be understood in two ways, is refused with a sentence; the others go on.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labrpc.errors import UsageError
from tester.grade.apart import Overrun, apart
from tester.grade.git_source import GitSource, git_folder
from tester.grade.names import PACKAGES, is_name, safe_name
from tester.grade.records import Refusal, Submission
from tester.grade.sources import (
    ARCHIVES,
    MOST_FILE,
    FolderSource,
    Kind,
    Member,
    Refused,
    Source,
    TarSource,
    ZipSource,
    archive_source,
    is_archive,
)

__all__ = ["Taken", "digest_of", "take_all", "take_folder"]

MOST_FILES = 300
MOST_TOTAL = 4 << 20
"""Bytes of all files that are taken of a submission."""
MOST_LEFT_OUT = 50
_MOST_PATH = 4096
_MOST_FOLDERS = 64

_OTHER_ARCHIVES = (".rar", ".7z", ".gz", ".xz", ".bz2", ".zst")
_NOT_LOOKED_INTO = ("__MACOSX", "__pycache__")
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_UTF_8 = ("utf-8", "utf8", "utf_8", "utf-8-sig")


@dataclass(frozen=True)
class Taken:
    """What came of one submission.

    Attributes:
        original: what it was called before its name was made safe.
        committed_at: seconds since 1970, of a git repository.
    """

    result: Submission | Refusal
    original: str
    committed_at: float | None = None


def take_all(arguments: Sequence[str]) -> list[Taken]:
    """All submissions in what `arguments` name, by name; of those that have one name only the first is taken.

    Args:
        arguments: paths of a submission or of a folder or archive of many, also `path@rev` of a git repository.

    Raises:
        UsageError: there is nothing of that name, or nothing in it, or git is needed and not there.
    """
    found = [taken for argument in arguments for taken in _take_argument(argument)]
    by_name: dict[str, Taken] = {}
    for taken in found:
        name = taken.result.name
        if name in by_name:
            number = next(number for number in range(2, len(found) + 2) if f"{name}-{number}" not in by_name)
            reason = f"there is another submission called {taken.original}; only that one is graded"
            taken = Taken(Refusal(f"{name}-{number}", reason), taken.original)
        by_name[taken.result.name] = taken
    return [by_name[name] for name in sorted(by_name)]


def take_folder(folder: Path, name: str = "") -> Submission | Refusal:
    """The submission in `folder` as its files are now, be it a repository or not."""
    return _take(name or folder.resolve().name, lambda: FolderSource(folder)).result


def digest_of(files: Mapping[str, bytes]) -> str:
    """The digest of a submission of `files`."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        for part in (path.encode(), content):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


# ------------------------------------------------------------------ finding them


def _take_argument(argument: str) -> Iterator[Taken]:
    path, rev = Path(argument), "HEAD"
    if not path.exists() and "@" in argument:
        text, _, rev = argument.rpartition("@")
        path = Path(text)
        if not path.is_dir():
            raise UsageError(f"there is no {argument}, and no git repository {text}")
        yield _take_repository(path, rev)
        return
    if not path.exists():
        raise UsageError(f"there is no {argument}; name a folder, an archive or a git repository (also PATH@REV)")
    if path.is_file():
        yield from _take_archive(path, may_be_many=True)
    elif _is_repository(path):
        yield _take_repository(path, rev)
    elif any((path / package).is_dir() for package in PACKAGES):
        yield _take(path.resolve().name, lambda: FolderSource(path))
    else:
        yield from _take_entries(path)


def _take_entries(folder: Path) -> Iterator[Taken]:
    """The submissions in a folder of many."""
    is_empty = True
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}") from None
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NOT_LOOKED_INTO:
            continue
        taken: list[Taken] = []
        if entry.is_symlink():
            taken = [_refusal(entry.name, "it is a symbolic link")]
        elif entry.is_dir():
            one = _take_repository(entry) if _is_repository(entry) else _take(entry.name, _folder_source(entry))
            taken = [one]
        elif is_archive(entry):
            taken = list(_take_archive(entry, may_be_many=False))
        elif entry.name.lower().endswith(_OTHER_ARCHIVES):
            taken = [_refusal(entry.name, f"such an archive cannot be read; hand in one of {', '.join(ARCHIVES)}")]
        is_empty = is_empty and not taken
        yield from taken
    if is_empty:
        raise UsageError(f"{folder} holds neither raft/ nor kvraft/, nor any folder, archive or repository that may")


def _folder_source(folder: Path) -> Callable[[], Source]:
    return lambda: FolderSource(folder)


def _is_repository(path: Path) -> bool:
    try:
        return git_folder(path) is not None
    except Refused:
        return True  # and to be refused when it is taken


def _take_repository(path: Path, rev: str = "HEAD") -> Taken:
    def source() -> GitSource:
        folder = git_folder(path)
        if folder is None:
            raise UsageError(f"{path} is no git repository, so {path}@{rev} means nothing")
        return GitSource(folder, rev)

    return _take(path.resolve().name.removesuffix(".git"), source)


def _take_archive(path: Path, *, may_be_many: bool) -> Iterator[Taken]:
    name = path.name
    for suffix in sorted(ARCHIVES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    if not may_be_many:
        yield _take(name, lambda: archive_source(path))
        return

    def look() -> list[tuple[str, dict[str, Any]]]:
        try:
            source = archive_source(path)
            students = sorted(_students(_checked(source.members())))
            if not students:
                return [(name, _said(lambda: source))]
            loaded = _Loaded(source)
        except Refused as error:
            return [(name, {"refused": _one_line(str(error))})]
        return [(student, _said(lambda student=student: loaded.below(student))) for student in students]  # type: ignore[misc]

    try:
        for each, said in apart(look):
            yield _taken(each, said)
    except Overrun as error:
        yield _refusal(name, str(error))


class _Loaded:
    """All that may be taken of an archive of many submissions, read once."""

    def __init__(self, source: ZipSource | TarSource) -> None:
        self._members = [(_plain(member.path), member) for member in _checked(source.members())]
        may_be_taken = {
            member.path
            for path, member in self._members
            if member.kind is Kind.FILE
            and path.endswith(".py")
            and any(part in PACKAGES for part in path.split("/")[1:3])
        }
        self._contents = source.read(may_be_taken)

    def below(self, student: str) -> Source:
        """What is in one folder."""
        prefix = f"{student}/"
        inside = [(path.removeprefix(prefix), member) for path, member in self._members if path.startswith(prefix)]
        return _Below(inside, self._contents)


class _Below:
    def __init__(self, inside: list[tuple[str, Member]], contents: Mapping[str, bytes]) -> None:
        self._inside = inside
        self._contents = contents

    def members(self) -> Iterator[Member]:
        return (Member(path, member.kind) for path, member in self._inside)

    def read(self, paths: Collection[str]) -> dict[str, bytes]:
        return {path: self._contents[member.path] for path, member in self._inside if path in paths}


def _students(members: Iterable[Member]) -> set[str]:
    """The folders at the top of an archive of many submissions; none: it is one submission."""
    tops: set[str] = set()
    with_code: set[str] = set()
    for member in members:
        parts = member.path.split("/")
        if _is_passed_over(parts[:1]):
            continue
        if len(parts) > 1 or member.kind is Kind.FOLDER:
            tops.add(parts[0])
        is_code = member.kind is Kind.FILE and member.path.endswith(".py")
        if is_code and any(part in PACKAGES for part in parts[1:3]):
            with_code.add(parts[0])
    if tops & set(PACKAGES) or len(with_code) < 2:
        return set()
    return tops


def _refusal(name: str, reason: str) -> Taken:
    return Taken(Refusal(safe_name(name), reason), name)


# ------------------------------------------------------------------ taking one


def _take(name: str, make_source: Callable[[], Source]) -> Taken:
    """Takes one submission, in a process of its own."""
    try:
        return _taken(name, apart(lambda: _said(make_source)))
    except Overrun as error:
        return _refusal(name, str(error))


def _said(make_source: Callable[[], Source]) -> dict[str, Any]:
    """What there is to say of one submission, as plain data: for `_taken`, in another process."""
    try:
        source = make_source()
        files, left_out, notes = _files_of(source)
        committed_at = source.committed_at if isinstance(source, GitSource) else None
        return {"files": files, "left_out": left_out, "notes": notes, "committed_at": committed_at}
    except Refused as error:
        return {"refused": _one_line(str(error))}
    except UsageError as error:
        return {"usage": str(error)}


def _taken(name: str, said: dict[str, Any]) -> Taken:
    if "usage" in said:
        raise UsageError(said["usage"])
    if "refused" in said:
        return _refusal(name, said["refused"])
    files = said["files"]
    submission = Submission(
        name=safe_name(name),
        digest=digest_of(files),
        files=files,
        left_out=tuple(said["left_out"]),
        notes=tuple(said["notes"]),
    )
    return Taken(submission, name, said["committed_at"])


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:500]


def _files_of(source: Source) -> tuple[dict[str, bytes], list[str], list[str]]:
    """The files that are taken, the paths of those that are not, and what the student should know.

    Raises:
        Refused: none can be taken, or something is not as it may be.
    """
    members = list(_checked(source.members()))
    written: dict[str, str] = {}
    for member in members:
        path = _plain(member.path)
        if path in written and member.kind is not Kind.FOLDER:
            raise Refused(f"{path!a} is there twice")
        written[path] = member.path
    plain = [Member(_plain(member.path), member.kind) for member in members]
    root = _root_of(plain)
    wanted: dict[str, str] = {}
    left_out: list[str] = []
    for member in plain:
        path = member.path.removeprefix(root)
        if member.path.startswith(root) and _is_wanted(Member(path, member.kind)):
            wanted[path] = written[member.path]
        elif member.kind is not Kind.FOLDER:
            left_out.append(member.path)
    _check_clashes(wanted)
    if len(wanted) > MOST_FILES:
        raise Refused(f"it has {len(wanted)} Python files in raft/ and kvraft/; {MOST_FILES} are the most")
    contents = source.read(set(wanted.values()))
    files = {path: contents[wanted[path]] for path in sorted(wanted)}
    if sum(map(len, files.values())) > MOST_TOTAL:
        raise Refused(f"its files have more than {MOST_TOTAL >> 20} MiB")
    for path, content in files.items():
        if len(content) > MOST_FILE:
            raise Refused(f"{path} has more than {MOST_FILE >> 10} KiB")
        _check_source(path, content)
    return files, _shortened(left_out), _notes(files, left_out, root)


def _checked(members: Iterable[Member]) -> Iterator[Member]:
    """`members`, none of which has a path that no honest program writes."""
    for member in members:
        path = member.path
        shown = ascii(path[:100])
        if len(path) > _MOST_PATH or path.count("/") > _MOST_FOLDERS:
            raise Refused(f"the path {shown} is too long")
        if path.startswith(("/", "\\")) or re.match("[A-Za-z]:", path):
            raise Refused(f"the path {shown} is absolute")
        parts = path.split("/")
        if ".." in parts or ".." in path.split("\\"):
            raise Refused(f"the path {shown} leads out of the submission")
        if any(len(part) > 255 for part in parts):
            raise Refused(f"the path {shown} has a name of more than 255 characters")
        if any(unicodedata.category(c) in ("Cc", "Cf") for c in path):
            raise Refused(f"the path {shown} has control characters in it")
        if "\\" in path and any(package in path.split("\\") for package in PACKAGES):
            raise Refused(f"the path {shown} is written with \\ instead of /: pack it with another program")
        if _plain(path):
            yield member


def _plain(path: str) -> str:
    """Without ./ and // and an / at the end."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _is_passed_over(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part in _NOT_LOOKED_INTO for part in parts)


def _alike(text: str) -> str:
    """Equal of names that some file system, or Python, takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _root_of(members: Sequence[Member]) -> str:
    """The folder that raft/ and kvraft/ are in, with / at its end; "" is the top.

    Raises:
        Refused: there is none, or there are several.
    """
    found: dict[str, set[str]] = {}
    deeper = ""
    for member in members:
        parts = member.path.split("/")
        if _is_passed_over(parts):
            continue
        is_code = member.kind is Kind.LINK or (member.kind is Kind.FILE and parts[-1].endswith(".py"))
        for place, part in enumerate(parts[:-1] if member.kind is Kind.FILE else parts):
            if _alike(part) in PACKAGES and part not in PACKAGES and place < 2 and is_code:
                raise Refused(f"the folder {part!a} must be called {_alike(part)}")
            if part in PACKAGES and is_code:
                if place < 2:
                    found.setdefault("".join(f"{each}/" for each in parts[:place]), set()).add(part)
                else:
                    deeper = "/".join(parts[: place + 1])
                break
    if not found:
        hint = f"; there is {deeper}, too far down" if deeper else ""
        archives = [member.path for member in members if member.path.lower().endswith((*ARCHIVES, *_OTHER_ARCHIVES))]
        if archives:
            hint += f"; archives in it, as {archives[0]!a}, are not opened"
        raise Refused(f"there are no Python files in raft/ or kvraft/, at its top or one folder down{hint}")
    if "" in found:
        elsewhere = [root for root in found if root and found[root] - found[""]]
        if elsewhere:
            raise Refused(
                f"{_list(found[''])} is at its top, {_list(found[elsewhere[0]])} in {elsewhere[0]}: put both at the top"
            )
        return ""
    if len(found) > 1:
        where = " and ".join(sorted(found)[:3])
        raise Refused(f"raft/ or kvraft/ is in {where}: which is meant? hand in one, at the top")
    return next(iter(found))


def _list(packages: Iterable[str]) -> str:
    return " and ".join(f"{package}/" for package in sorted(packages))


def _is_wanted(member: Member) -> bool:
    """Whether a file, seen from the submission's root, is taken.

    Raises:
        Refused: it is in the student's folders and is not what it may be.
    """
    path, parts = member.path, member.path.split("/")
    if parts[0] not in PACKAGES:
        return False
    if member.kind is Kind.LINK or member.kind is Kind.OTHER:
        raise Refused(f"{path!a} is {member.kind.value}; only files and folders are taken")
    if member.kind is Kind.FILE and len(parts) == 1:
        raise Refused(f"{path} is a file and must be a folder")
    if member.kind is Kind.FOLDER or not path.endswith(".py") or _is_passed_over(parts):
        return False
    if is_name(path):
        return True
    if not path.isascii():
        raise Refused(f"{path!a} has other letters than A-Z, a-z, 0-9 and _ in its name; rename it")
    return False  # no import statement can name it


def _check_clashes(paths: Iterable[str]) -> None:
    """No two names that a file system may take for one."""
    known: dict[str, str] = {}
    for path in sorted(paths):
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            name = "/".join(parts[:end])
            other = known.setdefault(_alike(name), name)
            if other != name:
                raise Refused(f"{other} and {name} are one name where case does not count; rename one")


def _check_source(path: str, content: bytes) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if b"\0" in content:
        raise Refused(f"{path} has a NUL in it: it is no Python source")
    for line in re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf"), maxsplit=2)[:2]:
        cookie = _COOKIE.match(line)
        if cookie and cookie[1].decode("ascii", "replace").lower() not in _UTF_8:
            raise Refused(f"{path} declares the encoding {cookie[1][:40]!a}; save it as UTF-8 and leave that line out")


def _shortened(paths: list[str]) -> list[str]:
    shown = [_one_line(path) for path in sorted(paths)[:MOST_LEFT_OUT]]
    more = len(paths) - len(shown)
    return [*shown, f"… and {more} more"] if more else shown


def _notes(files: Mapping[str, bytes], left_out: Sequence[str], root: str) -> list[str]:
    notes = []
    for package, what in (("raft", "parts 2A to 2D, 3B, 4A and 4B get"), ("kvraft", "parts 3A to 4B get")):
        if not any(path.startswith(f"{package}/") for path in files):
            notes.append(f"{package}/ is not there: {what} no points")
    archives = [path for path in left_out if path.lower().endswith((*ARCHIVES, *_OTHER_ARCHIVES))]
    if archives:
        notes.append(f"{_one_line(archives[0])} is an archive and was not opened")
    strange = [
        path for path in left_out
        if path.startswith(tuple(f"{root}{each}/" for each in PACKAGES)) and path.endswith(".py")
        and not _is_passed_over(path.split("/"))
    ]  # fmt: skip
    if strange:
        notes.append(f"{_one_line(strange[0])} was not taken: Python cannot import a file of that name")
    return notes

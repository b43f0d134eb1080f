"""Submissions are taken safely: what tries a trick, or can be understood in two ways, is refused with a sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from labrpc.errors import UsageError
from tester.grade import intake, sources
from tester.grade.apart import Overrun, apart
from tester.grade.intake import digest_of, take_all, take_folder
from tester.grade.names import is_name, safe_name
from tester.grade.records import Refusal, Submission
from tests.harness.grade.a_class import GIT, ROOT, make_class

GOOD = {"raft/__init__.py": b"x = 1\n", "raft/log/entry.py": b"y = 2\n", "kvraft/__init__.py": b"z = 3\n"}


def one(path: Path | str) -> Submission | Refusal:
    (taken,) = take_all([str(path)])
    return taken.result


def reason(path: Path | str) -> str:
    result = one(path)
    assert isinstance(result, Refusal), result
    assert result.reason.isprintable()
    return result.reason


def submission(path: Path | str) -> Submission:
    result = one(path)
    assert isinstance(result, Submission), result
    return result


def make_zip(path: Path, files: dict[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: list[tuple[str | tarfile.TarInfo, bytes]] | dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def make_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def tar_of(kind: bytes, name: str = "raft/link.py", **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


# ------------------------------------------------------------------ what is taken


def test_only_the_students_files_are_taken_whatever_they_come_in(tmp_path):
    files = {**GOOD, "README.md": b"", "tester/run.py": b"evil", "raft/notes.txt": b"", "setup.py": b"evil"}
    with_folder = {f"student-42/{name}": content for name, content in files.items()}
    paths = [
        make_folder(tmp_path / "folder", files),
        make_zip(tmp_path / "a.zip", files),
        make_zip(tmp_path / "b.zip", {**with_folder, "__MACOSX/student-42/raft/._raft.py": b"\0"}),
        make_tar(tmp_path / "c.tar", {f"./{name}": content for name, content in files.items()}),
        make_tar(tmp_path / "d.tar.gz", with_folder, "w:gz"),
        make_tar(tmp_path / "e.tar.xz", files, "w:xz"),
        make_tar(tmp_path / "f.tar.bz2", files, "w:bz2"),
    ]
    for path in paths:
        taken = submission(path)
        assert taken.files == GOOD
        assert taken.digest == digest_of(GOOD)
        assert [name.removeprefix("student-42/") for name in taken.left_out if "MACOSX" not in name] == sorted(
            set(files) - set(GOOD)
        ) or path.name == "folder"
        assert taken.notes == ()
    assert [submission(path).name for path in paths] == ["folder", "a", "b", "c", "d", "e", "f"]


def test_the_digest_says_which_bytes_are_in_which_file():
    assert digest_of(GOOD) == digest_of(dict(reversed(GOOD.items())))
    assert digest_of({"a": b"bc"}) != digest_of({"ab": b"c"})
    assert digest_of({"a": b"", "b": b"x"}) != digest_of({"a": b"x", "b": b""})


def test_many_come_in_a_folder_in_an_archive_or_as_arguments(tmp_path):
    class_folder = tmp_path / "class"
    students = make_class(class_folder, 5, names=["double-vote", "any-log-wins"])
    (class_folder / "grades.csv").write_text("not a submission")
    (class_folder / "broken.zip").write_bytes(b"PK nonsense")
    (class_folder / "s.rar").write_bytes(b"Rar!")
    (class_folder / "aside").symlink_to(students[0].path)
    found = {taken.result.name: taken.result for taken in take_all([str(class_folder)])}
    assert [name for name, result in found.items() if isinstance(result, Submission)] == [
        each.name for each in students
    ]
    assert found["student-001"].digest == found["student-003"].digest, "the same mistake, as zip and as repository"
    assert found["student-000"].digest != found["student-001"].digest
    assert {name: result.reason for name, result in found.items() if isinstance(result, Refusal)} == {
        "broken": "it is no zip, tar, tar.gz, tar.xz or tar.bz2, or it is damaged",
        "s.rar": "such an archive cannot be read; hand in one of " + ", ".join(sources.ARCHIVES),
        "aside": "it is a symbolic link",
    }
    given = take_all([str(each.path) for each in students])
    assert [taken.result for taken in given] == [found[each.name] for each in students]

    many = {f"{name}/{path}": content for name in ("ann", "bob") for path, content in GOOD.items()}
    many["cid/readme"] = b""
    for archive in (make_zip(tmp_path / "all.zip", many), make_tar(tmp_path / "all.tgz", many, "w:gz")):
        ann, bob, cid = (taken.result for taken in take_all([str(archive)]))
        assert (ann.name, bob.name, cid.name) == ("ann", "bob", "cid")
        assert ann.files == bob.files == GOOD
        assert "no Python files in raft/ or kvraft/" in cid.reason


def test_what_is_missing_is_noted(tmp_path):
    assert submission(make_folder(tmp_path / "r", {"raft/x.py": b""})).notes == (
        "kvraft/ is not there: parts 3A to 4B get no points",
    )
    assert submission(make_folder(tmp_path / "k", {"kvraft/x.py": b""})).notes == (
        "raft/ is not there: parts 2A to 2D, 3B, 4A and 4B get no points",
    )
    odd = submission(make_folder(tmp_path / "odd", {**GOOD, "raft/my-raft.py": b"", "raft/__pycache__/c.py": b""}))
    assert odd.files == GOOD
    assert odd.notes == ("raft/my-raft.py was not taken: Python cannot import a file of that name",)


def test_of_two_with_one_name_the_first_is_taken(tmp_path):
    a, b = make_folder(tmp_path / "1" / "ann", GOOD), make_folder(tmp_path / "2" / "ann", GOOD)
    first, second = (taken.result for taken in take_all([str(a), str(b)]))
    assert (first.name, second.name) == ("ann", "ann-2")
    assert second.reason == "there is another submission called ann; only that one is graded"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "there are no Python files in raft/ or kvraft/, at its top or one folder down"),
        ({"raft.zip": b"", "a.py": b""}, "archives in it, as 'raft.zip', are not opened"),
        ({"a/raft/x.py": b"", "b/raft/x.py": b""}, "raft/ or kvraft/ is in a/ and b/: which is meant?"),
        ({"a/raft/x.py": b"", "b/kvraft/x.py": b""}, "raft/ or kvraft/ is in a/ and b/: which is meant?"),
        ({"raft/x.py": b"", "b/kvraft/x.py": b""}, "raft/ is at its top, kvraft/ in b/: put both at the top"),
        ({"Raft/x.py": b""}, "the folder 'Raft' must be called raft"),
        ({"raft": b"", "kvraft/x.py": b""}, "raft is a file and must be a folder"),
        ({"raft/größe.py": b""}, "has other letters than A-Z"),
        (
            {"raft/Log.py": b"", "raft/log.py": b""},
            "raft/Log.py and raft/log.py are one name where case does not count",
        ),
        ({"raft/x.py": b"\xff"}, "raft/x.py is not UTF-8 (byte 0)"),
        ({"raft/x.py": "# ä".encode("utf-16")}, "raft/x.py is not UTF-8"),
        ({"raft/x.py": b"a\0b"}, "raft/x.py has a NUL in it"),
        ({"raft/x.py": b"#!/usr/bin/python\n# -*- coding: utf-7 -*-\n"}, "declares the encoding b'utf-7'"),
        ({"raft/x.py": b"\r# coding=rot13\r"}, "declares the encoding b'rot13'"),
        ({"raft/x.py": b"#" * (sources.MOST_FILE + 1)}, "raft/x.py has more than 512 KiB"),
        ({f"raft/x{n}.py": b"" for n in range(intake.MOST_FILES + 1)}, "has 301 Python files"),
        ({f"raft/x{n}.py": b"#" * sources.MOST_FILE for n in range(9)}, "its files have more than 4 MiB"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_cannot_be_understood_or_is_too_large_is_refused(tmp_path, files, expected):
    inside = tmp_path / "class" / "s"
    inside.mkdir(parents=True)
    assert expected in reason(make_folder(inside, files).parent)
    if files and not any("/" in name and name.split("/")[0] in ("a", "b") for name in files):
        assert expected in reason(make_tar(tmp_path / "s.tar", files))
        assert expected in reason(make_zip(tmp_path / "s.zip", files))


def test_code_that_is_too_far_down_is_pointed_at(tmp_path):
    assert "there is a/b/raft, too far down" in reason(make_zip(tmp_path / "s.zip", {"a/b/raft/x.py": b""}))


# ------------------------------------------------------------------ tricks


@pytest.mark.parametrize(
    "name",
    [
        "/raft/x.py", "//raft/x.py", "C:/raft/x.py", "C:\\raft\\x.py", "\\raft\\x.py", "../raft/x.py",
        "raft/../../x.py", "raft/..", "a\\..\\..\\x.py", "raft\\x.py", "raft/x\n.py", "raft/x\x1b[2J.py",
        "raft/\u202eyp.x.py",
        "raft/" + "a" * 256 + ".py", "a/" * 65 + "x", "raft/" + "d/" * 2100 + "x.py", "raft/\u200bx.py",
    ],
    ids=lambda name: ascii(name)[:24],
)  # fmt: skip
def test_a_path_that_no_honest_program_writes_is_refused(tmp_path, name):
    for archive in (
        make_zip(tmp_path / "s.zip", {**GOOD, name: b""}),
        make_tar(tmp_path / "s.tar", {**GOOD, name: b""}),
    ):
        assert any(
            word in reason(archive) for word in ("absolute", "leads out", "control", "written with", "too long", "255")
        )


@pytest.mark.parametrize(
    "name", ["raft/x\N{COMBINING DIAERESIS}.py", "raft/\N{LATIN SMALL LIGATURE FI}.py", "raft/аpp.py"]
)
def test_names_that_look_like_others_are_refused(tmp_path, name):
    for archive in (
        make_zip(tmp_path / "s.zip", {**GOOD, name: b""}),
        make_tar(tmp_path / "s.tar", {**GOOD, name: b""}),
    ):
        assert "other letters than A-Z" in reason(archive)


def test_a_folder_that_looks_like_raft_is_refused(tmp_path):
    look_alike = {**GOOD, "r\N{FULLWIDTH LATIN SMALL LETTER A}ft/x.py": b""}
    assert "must be called raft" in reason(make_zip(tmp_path / "s.zip", look_alike))


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    twice = [*GOOD.items(), ("./raft//__init__.py", b"evil")]
    assert "'raft/__init__.py' is there twice" in reason(make_zip(tmp_path / "s.zip", twice))
    assert "'raft/__init__.py' is there twice" in reason(make_tar(tmp_path / "s.tar", twice))


@pytest.mark.parametrize(
    "info",
    [
        tar_of(tarfile.SYMTYPE, linkname="/etc/passwd"), tar_of(tarfile.LNKTYPE, linkname="raft/__init__.py"),
        tar_of(tarfile.CHRTYPE, devmajor=1, devminor=5), tar_of(tarfile.BLKTYPE), tar_of(tarfile.FIFOTYPE),
        tar_of(tarfile.SYMTYPE, "kvraft", linkname=".."),
    ],
    ids=["symlink", "hardlink", "char", "block", "fifo", "folder"],
)  # fmt: skip
def test_links_and_devices_are_refused(tmp_path, info):
    files = [(name, content) for name, content in GOOD.items() if not name.startswith("kvraft")]
    assert "only files and folders are taken" in reason(make_tar(tmp_path / "s.tar", [*files, (info, b"")]))


def test_links_and_devices_elsewhere_are_left_out(tmp_path):
    files = [*GOOD.items(), (tar_of(tarfile.SYMTYPE, ".venv/bin/python", linkname="/usr/bin/python3"), b"")]
    taken = submission(make_tar(tmp_path / "s.tar", files))
    assert (taken.files, taken.left_out) == (GOOD, (".venv/bin/python",))


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("raft/secret.py")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    assert "'raft/secret.py' is a link" in reason(make_zip(tmp_path / "s.zip", [*GOOD.items(), (link, b"/etc/passwd")]))


def test_links_fifos_and_sockets_in_a_folder_are_refused(tmp_path):
    for name, make in (
        ("link", lambda path: path.symlink_to("/etc/passwd")),
        ("fifo", os.mkfifo),
        ("outside", lambda path: path.symlink_to(tmp_path)),
    ):
        folder = make_folder(tmp_path / name, GOOD)
        make(folder / "raft" / ("sub" if name == "outside" else "x.py"))
        assert "only files and folders are taken" in reason(folder)
    folder = make_folder(tmp_path / "top", {"raft/x.py": b""})
    (folder / "kvraft").symlink_to("/etc")
    assert "'kvraft' is a link" in reason(folder)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "s.zip", GOOD)
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        start = data.find(magic)
        data[start + offset] |= 1
    path.write_bytes(data)
    assert "encrypted" in reason(path)


def test_a_name_that_goes_on_behind_a_nul_is_refused(tmp_path):
    path = make_zip(tmp_path / "s.zip", {**GOOD, "raft/x.pyQQevil": b""})
    path.write_bytes(path.read_bytes().replace(b"raft/x.pyQQevil", b"raft/x.py\0Qevil"))
    assert "is no file name" in reason(path)


def test_bombs_are_refused_before_they_go_off(tmp_path):
    bomb = bytes(20 << 20)
    assert "has more than 512 KiB" in reason(make_zip(tmp_path / "a.zip", {**GOOD, "raft/bomb.py": bomb}))
    beside = make_zip(tmp_path / "b.zip", {**GOOD, "bomb": bomb})
    assert submission(beside).files == GOOD, "it is never unpacked"
    tar = make_tar(tmp_path / "c.tar", {**GOOD, "bomb": bomb}).read_bytes()
    for name, pack in (("c.tar.gz", gzip.compress), ("c.tar.bz2", bz2.compress), ("c.tar.xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(tar))
        assert "unpacks to more than 200 times its size" in reason(tmp_path / name)


def test_headers_are_not_believed(tmp_path):
    path = make_zip(tmp_path / "s.zip", {**GOOD, "raft/bomb.py": b"#" * (8 << 20)})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\1\2", 0, data.rfind(b"raft/bomb.py"))
    data[at + 24 : at + 28] = struct.pack("<I", 10)  # it says that it has 10 bytes
    path.write_bytes(data)
    assert isinstance(one(path), Refusal) or len(submission(path).files["raft/bomb.py"]) <= 10
    huge = tarfile.TarInfo("raft/huge.py")
    huge.size = 1 << 40
    (tmp_path / "h.tar").write_bytes(huge.tobuf() + b"x" * 2048)
    assert reason(tmp_path / "h.tar")


def test_a_sparse_file_is_refused(tmp_path):
    sparse = tarfile.TarInfo("raft/sparse.py")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    assert reason(make_tar(tmp_path / "s.tar", [*GOOD.items(), (sparse, b"1\n0\n0\n" + bytes(506))]))


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST_MEMBERS", 50)
    many = {**GOOD, **{f"junk/{n}": b"" for n in range(60)}}
    assert "more than 50 members" in reason(make_zip(tmp_path / "s.zip", many))
    assert "more than 50 members" in reason(make_tar(tmp_path / "s.tar", many))


def test_an_archive_in_an_archive_is_not_opened(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", GOOD).read_bytes()
    assert "are not opened" in reason(make_zip(tmp_path / "outer.zip", {"inner.zip": inner}))
    taken = submission(make_zip(tmp_path / "both.zip", {**GOOD, "raft/inner.zip": inner}))
    assert taken.files == GOOD
    assert taken.notes == ("raft/inner.zip is an archive and was not opened",)


def test_folders_without_end_are_refused(tmp_path):
    folder = make_folder(tmp_path / "s", GOOD)
    deep = folder / "raft"
    for _ in range(30):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert "folders more than 8 deep" in reason(folder)


def test_nothing_is_written(tmp_path, monkeypatch):
    inside = tmp_path / "here"
    inside.mkdir()
    make_zip(tmp_path / "s.zip", {**GOOD, "../evil.py": b""})
    make_tar(tmp_path / "t.tar.gz", GOOD, "w:gz")
    monkeypatch.chdir(inside)
    take_all([str(tmp_path / "s.zip"), str(tmp_path / "t.tar.gz")])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["here", "s.zip", "t.tar.gz"]


# ------------------------------------------------------------------ git


@pytest.fixture
def repository(tmp_path) -> Path:
    path = make_folder(tmp_path / "repo", GOOD)
    commit(path, "first")
    return path


def git(path: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=path, env=GIT, check=True, capture_output=True)


def commit(path: Path, text: str) -> None:
    git(path, "init", "-q")
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", text)


def test_of_a_repository_the_commit_counts_not_the_folder(repository, tmp_path):
    (repository / "raft" / "later.py").write_text("uncommitted")
    assert submission(repository).files == GOOD
    assert "raft/later.py" in take_folder(repository).files, "tester check takes the folder"
    commit(repository, "second")
    assert set(submission(repository).files) == {*GOOD, "raft/later.py"}
    assert submission(f"{repository}@HEAD~1").files == GOOD
    git(tmp_path, "clone", "-q", "--bare", "--no-hardlinks", str(repository), "bare.git")
    bare = submission(tmp_path / "bare.git")
    assert (bare.name, bare.files) == ("bare", submission(repository).files)
    (taken,) = take_all([str(repository)])
    assert taken.committed_at == 1790942400.0  # as GIT says


def test_a_revision_that_is_not_there_is_refused(repository):
    for rev in ("no-such", "--help", "-x", "HEAD; true", "\n"):
        assert "has no commit" in reason(f"{repository}@{rev}")


def test_what_a_repository_configures_is_not_run(repository, tmp_path):
    mark = tmp_path / "ran"
    script = tmp_path / "run.sh"
    script.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    script.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py filter=evil diff=evil\n")
    commit(repository, "attributes")
    for key in (
        "core.fsmonitor", "core.sshCommand", "core.pager", "filter.evil.smudge", "filter.evil.clean", "gpg.program",
        "diff.evil.textconv", "diff.external", "uploadpack.packObjectsHook", "core.editor", "alias.ls-tree",
    ):  # fmt: skip
        git(repository, "config", key, str(script))
    git(repository, "config", "log.showSignature", "true")
    mark.unlink(missing_ok=True)
    assert submission(repository).files == GOOD
    assert not mark.exists()


def test_a_repository_that_points_elsewhere_is_refused(repository, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".git").write_text(f"gitdir: {repository}/.git\n")
    assert "points elsewhere" in reason(tmp_path / "work")
    git(tmp_path, "clone", "-q", "--shared", str(repository), "shared")
    assert "objects are in another repository" in reason(tmp_path / "shared")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".git").symlink_to(repository / ".git")
    assert "points elsewhere" in reason(tmp_path / "linked")


def test_links_in_a_repository_are_refused(repository):
    (repository / "raft" / "x.py").symlink_to("/etc/passwd")
    commit(repository, "link")
    assert "'raft/x.py' is a link" in reason(repository)


def test_a_large_file_in_a_repository_is_refused(repository):
    (repository / "raft" / "x.py").write_bytes(b"#" * (sources.MOST_FILE + 1))
    commit(repository, "large")
    assert "raft/x.py has more than 512 KiB" in reason(repository)


def test_a_damaged_repository_is_refused(repository):
    for path in (repository / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"nonsense")
    assert reason(repository)


# ------------------------------------------------------------------ mistakes of the user, names, limits


@pytest.mark.parametrize("argument", ["no-such", "no-such@HEAD", "empty"])
def test_what_is_not_there_is_told(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"there is no no-such|empty holds neither"):
        take_all([argument])


def test_names_are_safe_as_folders_names():
    assert safe_name("student-42") == "student-42"
    odd = ["../etc", "Müller", "Muller", "李", "王", "a b", ".hidden", "-rf", "x" * 300, "a/b", "", "con\0"]
    safe = [safe_name(name) for name in odd]
    assert len(set(safe)) == len(odd)
    assert all(name.isascii() and "/" not in name and name[0] not in ".-" and len(name) <= 110 for name in safe)
    assert safe[1].startswith("Muller-")


def test_names_of_files_that_are_taken():
    assert is_name("raft/raft.py")
    assert is_name("kvraft/a/b/_c1.py")
    bad = [
        "raft.py",
        "raft/../x.py",
        "raft//x.py",
        "/raft/x.py",
        "raft/x.pyc",
        "raft/x.py\n",
        "raft/.x.py",
        "tester/x.py",
    ]
    assert not any(map(is_name, [*bad, "raft/1.py", "raft/ä.py", "raft/a.b/x.py", "raft/__pycache__/x.py"]))


def test_what_takes_too_long_or_too_much_costs_itself_only():
    assert apart(lambda: {"a": b"x"}) == {"a": b"x"}
    for endless in (lambda: bytearray(1 << 33), lambda: os.kill(os.getpid(), 9)):
        with pytest.raises(Overrun):
            apart(endless)

    def spin() -> None:
        while True:
            pass

    with pytest.raises(Overrun):
        apart(spin, wall_s=0.2)


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_damaged_archives_are_taken_or_refused_and_nothing_else(tmp_path, form):
    """A fuzz: bytes changed, cut out, doubled. Whatever is taken has names and contents that may be."""
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in sorted((ROOT / "raft").glob("*.py"))}
    path = tmp_path / f"s.{form}"
    make_zip(path, files) if form == "zip" else make_tar(path, files, "w" if form == "tar" else f"w:{form[4:]}")
    whole = path.read_bytes()
    rng = random.Random(form)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 20))):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    data[at : at + rng.randrange(600)] = b""
                case 2:
                    data[at:at] = data[at : at + rng.randrange(600)]
                case 3:
                    data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"/../", b"\x7f\xff\xff\xff"))
            data = data or bytearray(b"x")
        path.write_bytes(data)
        said = intake._said(lambda: sources.archive_source(path))
        if "refused" in said:
            refused += 1
            assert said["refused"].isprintable()
        else:
            assert all(map(is_name, said["files"]))
            assert all(content.decode("utf-8") is not None for content in said["files"].values())
    assert refused > 30

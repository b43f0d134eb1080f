"""What the nursery sees of this machine: Python's own files, the packages it needs and labrpc, all to read only.

    bwrap ... --ro-bind STDLIB STDLIB --tmpfs STDLIB/site-packages --ro-bind .../greenlet /lab/greenlet ... python -I

Whatever is installed beside them (raft, kvraft, tester), homes, submissions and results are not there at all. It
works the same for a Python of the system's, one in a home with an environment elsewhere, and one of a container's.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
import threading
from pathlib import Path

import labrpc

__all__ = ["LAB", "command", "environment", "unavailable"]

LAB = "/lab"
"""The folder with labrpc and the packages it needs, as the nursery sees it."""

_NEEDED = ("greenlet", "msgspec")
_ID = "1000"
_INSTALLED = ("site-packages", "dist-packages")


def unavailable() -> str:
    """Why there can be no such view here; "" if bubblewrap is installed. Whether it works is seen when it is used."""
    if sys.platform != "linux":
        return f"bubblewrap needs Linux, and this is {sys.platform}"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: apt-get install bubblewrap"
    return ""


def environment() -> dict[str, str]:
    """All variables that the nursery has."""
    return {"LANG": "C.UTF-8", "PATH": "", "HOME": "/tmp", "TMPDIR": "/tmp"}


def command(code: str) -> list[str]:
    """The command that runs Python on `code` in this view, in namespaces of its own, with no privileges.

    The file descriptors that it inherits stay open. labrpc is in `LAB`, which is not on the path.
    """
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    bwrap = ["bwrap", "--unshare-all", "--uid", _ID, "--gid", _ID, "--hostname", "lab", "--cap-drop", "ALL"]
    bwrap += ["--as-pid-1", "--new-session", "--clearenv"]
    if threading.current_thread() is threading.main_thread():
        bwrap.append("--die-with-parent")  # it dies with the thread that starts it
    for name, value in environment().items():
        bwrap += ["--setenv", name, value]
    shown = [Path(python), *_interpreter(Path(python)), *_libraries()]
    for path in dict.fromkeys(shown):
        bwrap += ["--ro-bind", str(path), str(path)]
    for path in _linked_folders():
        bwrap += ["--symlink", os.readlink(path), str(path)]
    for folder in _stdlib():
        for name in _INSTALLED:
            if (folder / name).is_dir():
                bwrap += ["--tmpfs", str(folder / name), "--remount-ro", str(folder / name)]
    for name, path in _packages().items():
        bwrap += ["--ro-bind", str(path), f"{LAB}/{name}"]
    for device in ("null", "urandom"):
        bwrap += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    bwrap += ["--proc", "/proc", "--dir", "/tmp", "--remount-ro", "/", "--chdir", "/"]
    return [*bwrap, "--", python, "-I", "-B", "-c", code]


def _stdlib() -> list[Path]:
    """The folders of the standard library."""
    real = {"installed_base": sys.base_prefix, "platbase": sys.base_exec_prefix}  # not an environment's
    paths = (sysconfig.get_path(name, vars=real) for name in ("stdlib", "platstdlib"))
    return list(dict.fromkeys(Path(os.path.realpath(path)) for path in paths))


def _interpreter(python: Path) -> list[Path]:
    """What belongs to Python beside its executable: the standard library, and its own shared libraries."""
    folders = _stdlib()
    beside = {folder.parent for folder in folders} | {python.parent.parent / "lib"}
    libraries = [path for folder in sorted(beside) for path in sorted(folder.glob("*.so*")) if path.is_file()]
    return [*folders, *libraries]


def _libraries() -> list[Path]:
    """Where the system keeps shared libraries, but for the packages of a Python that may be below."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    folders = [Path("/usr/lib") / multiarch] if multiarch and (Path("/usr/lib") / multiarch).is_dir() else []
    folders += [Path("/lib") / multiarch] if folders and not Path("/lib").is_symlink() else []
    folders += [path for path in (Path("/usr/lib64"), Path("/lib64")) if path.is_dir() and not path.is_symlink()]
    return [*folders, *(path for path in (Path("/etc/ld.so.cache"),) if path.is_file())]


def _linked_folders() -> list[Path]:
    return [path for path in (Path("/lib"), Path("/lib64")) if path.is_symlink()]


def _packages() -> dict[str, Path]:
    """Name -> where it is, of labrpc and the packages that it needs, with the libraries that came with them."""
    found = {"labrpc": Path(labrpc.__file__).parent}
    for name in _NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            found[name] = Path(next(iter(spec.submodule_search_locations)))
            bundled = found[name].with_name(f"{name}.libs")
            if bundled.is_dir():
                found[bundled.name] = bundled
    return found

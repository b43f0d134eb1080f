"""The code under test, compiled once and executed afresh for each incarnation.

    CodeBundle: source folders --instrument, compile--> code objects     (once; sent to child processes as bytes)
    Loader:     code objects --exec under this host's builtins--> this host's own modules

Every incarnation has its own copies of the server packages' modules, so nothing survives a crash but what was saved,
and two servers share nothing, not even a class attribute. In these modules `import threading`, `time`, `random` and
their like give the host's versions; pytest and everything else keep the real ones.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import linecache
import marshal
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import labrpc
from labrpc import context
from labrpc.errors import UsageError
from labrpc.virtual import stdlib
from labrpc.virtual.instrument import instrument, order_sets
from labrpc.virtual.sets import OrderedFrozenSet, OrderedSet, set_operators, stable_hash

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = ["SERVER_PACKAGES", "CodeBundle", "Loader", "warm"]

SERVER_PACKAGES = ("raft", "kvraft")
"""The packages of a submission: loaded privately, with step points."""

_SERVER_NAMES = (
    "Annotation", "ClientEnd", "CodecError", "Persister", "UsageError", "annotate", "decode", "encode", "message",
    "rpc",
)  # fmt: skip

_SKIPPED_FOLDERS = {"__pycache__", "service"}  # kvraft/service runs on the real clock only


class ModuleCode(NamedTuple):
    """One module's code, or the error that kept it from compiling as (message, line)."""

    path: str
    is_package: bool
    is_server: bool
    code: CodeType | None
    error: tuple[str, int] | None


class CodeBundle:
    """The compiled server packages and programs.

    Args:
        modules: code by full module name.
        files: the server packages' files, by their full path, with the short path to show for each.
        sources: their texts, by full path, for tracebacks where the files are out of sight.
    """

    def __init__(
        self, modules: dict[str, ModuleCode], files: dict[str, str], sources: dict[str, str] | None = None
    ) -> None:
        self.modules = modules
        self.files = files
        self.sources = sources or {}
        self.packages = _parents(modules)
        """The packages that the modules are in."""

    @classmethod
    def build(cls, root: Path, programs: Mapping[str, Path], *, instrumented: bool = True) -> CodeBundle:
        """Compiles `root`/raft and `root`/kvraft with step points, and the program modules, by name, without.

        Raises:
            UsageError: there is neither folder under `root`.
        """
        modules: dict[str, ModuleCode] = {}
        files: dict[str, str] = {}
        sources: dict[str, str] = {}
        for package in SERVER_PACKAGES:
            folder = root / package
            for path in sorted(folder.rglob("*.py")) if folder.is_dir() else ():
                relative = path.relative_to(root)
                if _SKIPPED_FOLDERS.intersection(relative.parts):
                    continue
                parts = relative.with_suffix("").parts
                is_package = parts[-1] == "__init__"
                name = ".".join(parts[:-1] if is_package else parts)
                modules[name] = _compile(path, is_package, is_server=True, instrumented=instrumented)
                files[str(path)] = relative.as_posix()
                sources[str(path)] = path.read_bytes().decode("utf-8", "replace")
        if not files:
            raise UsageError(f"no raft/ or kvraft/ package in {root}; --solution names the folder that holds them")
        for name, path in programs.items():
            modules[name] = _compile(path, is_package=False, is_server=False, instrumented=False)
        return cls(modules, files, sources)

    def to_bytes(self) -> bytes:
        """For `from_bytes` in a child process of the same interpreter."""
        modules = {name: tuple(module) for name, module in self.modules.items()}
        return marshal.dumps((self.files, modules, self.sources))

    @classmethod
    def from_bytes(cls, data: bytes) -> CodeBundle:
        files, modules, sources = marshal.loads(data)
        return cls({name: ModuleCode(*module) for name, module in modules.items()}, files, sources)

    def show_sources(self) -> None:
        """Has this process's tracebacks find the lines of files that it cannot read."""
        for path, text in self.sources.items():
            linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)


def _compile(path: Path, is_package: bool, *, is_server: bool, instrumented: bool, ordered: bool = False) -> ModuleCode:
    try:
        source: bytes | ast.Module = path.read_bytes()
        if instrumented or ordered:  # else without a tree: Python 3.11 cannot make two at once, on two threads
            tree = ast.parse(source, str(path))
            source = instrument(tree) if instrumented else order_sets(tree)
        code = compile(source, str(path), "exec", dont_inherit=True)
        return ModuleCode(str(path), is_package, is_server, code, None)
    except SyntaxError as error:
        return ModuleCode(str(path), is_package, is_server, None, (error.msg or "invalid syntax", error.lineno or 0))
    except (ValueError, RecursionError, MemoryError) as error:
        return ModuleCode(str(path), is_package, is_server, None, (f"cannot be compiled: {error}", 0))


class Loader:
    """The modules of one incarnation.

    Args:
        host: whose they are.
        bundle: where server packages and programs come from.
        private: more modules to execute privately with step points (CPython's own test suites, say); a name that ends
            in ".*" covers a package's submodules.
    """

    def __init__(self, host: Host, bundle: CodeBundle, private: Sequence[str] = ()) -> None:
        self._host = host
        self._bundle = bundle
        self._private = tuple(private)
        self._above_private = _parents((*stdlib.PRIVATE, *private))
        self.modules: dict[str, ModuleType] = {}
        shared = {**vars(builtins), "__import__": self._import_trusted}
        self._trusted_builtins = shared
        self._library_builtins = {**shared, **self._library_differences()}
        self._server_builtins = {
            **shared,
            **stdlib.builtins_for(host),
            "__import__": self._import_from_server,
            **self._server_differences(),
        }

    def import_module(self, name: str) -> ModuleType:
        """Module `name` as trusted code on this host sees it."""
        return self._get(name, trusted=True)

    def set_step_functions(self, step: Callable[[], bool], stepped: Callable[[Any], Any]) -> None:
        """Has others called at step points than those that only count. Before the first module is imported."""
        self._server_builtins.update(__step__=step, __stepped__=stepped)

    def clear(self) -> None:
        """Lets go of the modules' contents, so that a dead incarnation's memory is freed at once."""
        for name, module in self.modules.items():
            if name in self._bundle.modules:
                module.__dict__.clear()
        self.modules.clear()

    # -------------------------------------------------------------- what a world with another clock has otherwise

    _orders_sets = True
    """Whether sets in library code that runs on a host iterate in insertion order."""

    def _library_differences(self) -> dict[str, Any]:
        """The builtins that library code on this host has otherwise than the harness."""
        return {**set_operators, "set": OrderedSet, "frozenset": OrderedFrozenSet}

    def _server_differences(self) -> dict[str, Any]:
        """The builtins that server code has otherwise, beside input, output and imports."""
        return {
            **self._library_differences(),
            "__step__": _step_function(self._host),
            "__stepped__": _stepped_function(self._host),
            "__set__": OrderedSet,
            "hash": stable_hash,
            "sum": _sum,
        }

    def _overlay(self, full: str) -> ModuleType | None:
        """Module `full` as this host sees it, if not as everybody does."""
        return stdlib.overlay(full, self._host, self)

    # -------------------------------------------------------------- __import__

    def _import_from_server(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        return self._import(name, globals, fromlist, level, trusted=False)

    def _import_trusted(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        return self._import(name, globals, fromlist, level, trusted=True)

    def _import(self, name: str, globals: Any, fromlist: Any, level: int, *, trusted: bool) -> ModuleType:
        full = _absolute(name, globals, level) if level else name
        module = self._get(full, trusted=trusted)
        if not fromlist:
            return self._get(full.partition(".")[0], trusted=True) if "." in full else module
        for child in fromlist:
            if child == "*" or hasattr(module, child):
                continue
            if hasattr(module, "__path__"):
                try:
                    self._get(f"{full}.{child}", trusted=trusted)
                except ModuleNotFoundError as error:
                    if error.name != f"{full}.{child}":
                        raise
            elif (full in stdlib.OVERLAYS or full == "labrpc") and hasattr(module, "__getattr__"):
                try:
                    module.__getattr__(child)  # it says what to use instead
                except AttributeError as error:
                    raise ImportError(str(error), name=full) from None
        return module

    def _get(self, full: str, *, trusted: bool) -> ModuleType:
        module = self.modules.get(full)
        if module is not None:
            return module
        if not trusted:
            self._check_allowed(full)
        parent_name, _, child = full.rpartition(".")
        parent = (
            self._get(parent_name, trusted=trusted or self._has_private_child(parent_name)) if parent_name else None
        )
        module = self.modules.get(full)  # importing the parent may have imported it
        if module is None:
            module = self._load(full)
        if parent is not None and parent_name in self.modules:
            setattr(parent, child, module)
        return module

    def _load(self, full: str) -> ModuleType:
        code = self._bundle.modules.get(full)
        if code is not None:
            return self._execute(full, code)
        if full.partition(".")[0] in SERVER_PACKAGES:
            raise ModuleNotFoundError(f"No module named {full!r}", name=full)
        if full == "dataclasses":
            return _host_dataclasses()
        if full == "labrpc":
            self.modules[full] = lab = _server_labrpc()
            return lab
        overlay = self._overlay(full)
        if overlay is not None:
            self.modules[full] = overlay
            return overlay
        if full in stdlib.PRIVATE or self._is_private(full):
            ordered = self._orders_sets and full in stdlib.PRIVATE
            return self._execute(full, _library_code(full, instrumented=self._is_private(full), ordered=ordered))
        if self._has_private_child(full):
            return self._proxy(full)
        if full in self._bundle.packages:  # the package above a program
            package = ModuleType(full)
            package.__path__ = []
            self.modules[full] = package
            return package
        return importlib.import_module(full)

    def _execute(self, full: str, source: ModuleCode) -> ModuleType:
        if source.code is None:
            text, line = source.error or ("", 0)
            raise SyntaxError(text, (source.path, line, None, linecache.getline(source.path, line)))
        module = ModuleType(full)
        namespace = module.__dict__
        instrumented = source.is_server or self._is_private(full)
        plain = self._library_builtins if full in stdlib.PRIVATE else self._trusted_builtins
        namespace["__builtins__"] = self._server_builtins if instrumented else plain
        namespace["__file__"] = source.path
        namespace["__package__"] = full if source.is_package else full.rpartition(".")[0]
        if source.is_package:
            namespace["__path__"] = [str(Path(source.path).parent)]
        self.modules[full] = module
        thread = self._host.current
        if thread is not None:
            thread.atomic += 1
        try:
            exec(source.code, namespace)
        except BaseException:
            self.modules.pop(full, None)
            raise
        finally:
            if thread is not None:
                thread.atomic -= 1
        return module

    def _proxy(self, full: str) -> ModuleType:
        """A stand-in for a real package some of whose submodules are private."""
        real = importlib.import_module(full)
        module = ModuleType(full)
        kept = {
            name: value
            for name, value in vars(real).items()
            if not (isinstance(value, ModuleType) and self._is_covered(f"{full}.{name}"))
        }
        module.__dict__.update(kept)
        module.__dict__.pop("__getattr__", None)
        self.modules[full] = module
        return module

    # -------------------------------------------------------------- what may be imported

    def _check_allowed(self, full: str) -> None:
        top = full.partition(".")[0]
        if full in self._bundle.modules or top in SERVER_PACKAGES or full == "labrpc":
            return
        if full in stdlib.ALLOWED or top in stdlib.ALLOWED or self._is_covered(full) or full in stdlib.OVERLAYS:
            return
        advice = stdlib.REFUSED.get(full) or stdlib.REFUSED.get(top)
        if advice is None and top == "labrpc":
            advice = "import the public names from labrpc itself"
        if advice is None:
            known = top in sys.stdlib_module_names
            advice = "it is not among the modules a server may use" if known else "only the standard library and labrpc"
        raise ImportError(f"server code may not import {full}: {advice}", name=full)

    def _is_private(self, full: str) -> bool:
        return any(full == name or (name.endswith(".*") and full.startswith(name[:-1])) for name in self._private)

    def _is_covered(self, full: str) -> bool:
        return full in stdlib.PRIVATE or self._is_private(full) or self._has_private_child(full)

    def _has_private_child(self, full: str) -> bool:
        return full in self._above_private


def _parents(modules: Iterable[str]) -> frozenset[str]:
    """All packages above `modules`."""
    return frozenset(name[:end] for name in modules for end in range(len(name)) if name[end] == ".")


def _absolute(name: str, globals: Any, level: int) -> str:
    package = globals.get("__package__") or ""
    parts = package.rsplit(".", level - 1)
    if len(parts) < level or not package:
        raise ImportError("attempted relative import beyond top-level package")
    return f"{parts[0]}.{name}" if name else parts[0]


def _server_labrpc() -> ModuleType:
    """`labrpc` as code on a host sees it: without what reaches out of the host."""
    module = ModuleType("labrpc")
    module.__dict__.update({name: getattr(labrpc, name) for name in _SERVER_NAMES})

    def advise(name: str) -> Any:
        raise AttributeError(f"labrpc.{name} is not for code on a host; there are {', '.join(_SERVER_NAMES)}")

    module.__dict__["__getattr__"] = advise
    return module


_library: dict[tuple[str, bool, bool], ModuleCode] = {}


def _library_code(full: str, *, instrumented: bool, ordered: bool) -> ModuleCode:
    """The code of an installed module, compiled once a process."""
    known = _library.get((full, instrumented, ordered))
    if known is None:
        spec = importlib.util.find_spec(full)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"No module named {full!r}", name=full)
        is_package = spec.submodule_search_locations is not None
        known = _compile(Path(spec.origin), is_package, is_server=False, instrumented=instrumented, ordered=ordered)
        _library[full, instrumented, ordered] = known
    return known


def _sum(iterable: Iterable[Any], /, start: Any = 0) -> Any:
    """`sum` from left to right: since Python 3.12 the builtin one compensates floats, and 3.11's does not."""
    if isinstance(start, (str, bytes, bytearray)):
        return sum((), start)  # refused, with advice
    return functools.reduce(operator.add, iterable, start)


def _step_function(host: Host) -> Any:
    def step() -> bool:
        host.left -= 1
        if host.left < 0:
            host.slow_step()
        return True

    return step


def _stepped_function(host: Host) -> Any:
    def stepped(value: Any) -> Any:
        host.left -= 1
        if host.left < 0:
            host.slow_step()
        return value

    return stepped


def warm(*, ordered: bool = True) -> None:
    """Compiles what every host may need of the standard library, so that processes forked from this one need not.

    Args:
        ordered: as virtual hosts have it, with sets in insertion order.
    """
    _host_dataclasses()
    for name in stdlib.PRIVATE:
        _library_code(name, instrumented=False, ordered=ordered)


_dataclasses: ModuleType | None = None


class _HostModules:
    """`sys.modules` as `dataclasses` needs it on a host: the host's own modules first."""

    def get(self, name: str, default: Any = None) -> Any:
        host: Any = context.here()
        own = host.loader.modules.get(name) if host is not None else None
        return own if own is not None else sys.modules.get(name, default)

    def __getitem__(self, name: str) -> Any:
        module = self.get(name)
        if module is None:
            raise KeyError(name)
        return module

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None


def _host_dataclasses() -> ModuleType:
    """A copy of `dataclasses`, one for all hosts, that compiles the methods it generates only once.

    Every incarnation makes its own message classes, and compiling their methods is most of what that costs.
    """
    global _dataclasses
    if _dataclasses is None:
        module = ModuleType("dataclasses")
        compiled: dict[str, CodeType] = {}

        def cached_exec(text: str, *namespaces: Any) -> None:
            code = compiled.get(text)
            if code is None:
                code = compiled[text] = compile(text, "<dataclass>", "exec", dont_inherit=True)
            exec(code, *namespaces)

        source = _library_code("dataclasses", instrumented=False, ordered=False)
        assert source.code is not None
        module.__dict__.update(__builtins__=builtins, __file__=source.path, __package__="")
        exec(source.code, module.__dict__)
        host_sys = ModuleType("sys")
        host_sys.__dict__.update(vars(sys), modules=_HostModules())
        module.__dict__.update(exec=cached_exec, sys=host_sys)
        _dataclasses = module
    return _dataclasses

"""What the harness's own tests share: clusters that run a snippet of server code."""

from __future__ import annotations

import shutil
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labrpc.disturbance import Disturbance
from labrpc.streams import Streams
from labrpc.virtual.claims import Bounds
from tester.cluster import Cluster
from tester.run import Options, Run

SNIPPET = "tests.harness.programs.snippet"
ROOT = Path(__file__).parents[2]
PROGRAMS = {SNIPPET: Path(__file__).parent / "programs" / "snippet.py"}

HEADER = f"""\
{(Path(__file__).parent / "programs" / "ping.py").read_text()}
import queue, random, threading, time
from labrpc import annotate, decode, encode, rpc

"""

Lab = Callable[..., Cluster]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it in the background: tests send it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def header_line(offset: int) -> int:
    """The line number in raft/__init__.py of line `offset` (from 1) of a snippet."""
    return HEADER.count("\n") + offset


class FixedDisturbance(Disturbance):
    """Preemption as a test wants it, not as the seed has it."""

    def __init__(self, mean_gap_steps: int = 0, longest_stall_ns: int = 0, longest_async_save_ns: int = 0) -> None:
        super().__init__(Streams(0), "none")
        self.mean_gap_steps = mean_gap_steps
        self.longest_stall_ns = longest_stall_ns
        self.longest_async_save_ns = longest_async_save_ns


@pytest.fixture(params=["threads", "processes"])
def world(request: pytest.FixtureRequest) -> str:
    """Both virtual worlds, one after the other."""
    return request.param


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Builds and starts a cluster whose servers run `snippet`'s class Server.

    `lab(snippet, servers=2, world="threads", clock="virtual", seed=1, disturbance=…, start=True, **options of Cluster)`
    """
    runs: list[Run] = []

    def build(
        snippet: str,
        servers: int = 2,
        *,
        world: str = "threads",
        clock: str = "virtual",
        seed: int = 1,
        disturbance: Disturbance | None = None,
        step_wall_limit_s: float = 20.0,
        sandbox: bool = False,
        start: bool = True,
        latency: float | None = 0.001,
        **options: Any,
    ) -> Cluster:
        folder = tmp_path / f"solution-{len(runs)}" / "raft"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(HEADER + textwrap.dedent(snippet).lstrip("\n"))
        chosen = Options(
            clock=clock,
            servers=world,
            solution=folder.parent,
            programs=PROGRAMS,
            sandbox=sandbox,
            bounds=Bounds(step_wall_s=step_wall_limit_s),
        )
        run = Run(seed, chosen)
        fixed = disturbance or FixedDisturbance()
        run.disturbance = lambda streams: fixed  # type: ignore[method-assign]
        runs.append(run)
        cluster = Cluster(run, servers, program=SNIPPET, latency=latency, **options)
        if start:
            cluster.start_all()
        return cluster

    yield build
    for run in runs:
        run.close()


@pytest.fixture
def run_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Runs pytest in a process and a folder of its own, on part 2A or on `tests`; None: `arguments` name them."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    fixed = ("-p", "no:cacheprovider", "--keep-no-failures", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"))

    def run(
        *arguments: str, tests: str | None = str(ROOT / "tests" / "labs" / "test_2a_election.py")
    ) -> pytest.RunResult:
        return pytester.runpytest_subprocess(*fixed, *([] if tests is None else [tests]), *arguments)

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as api:
        found = api.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def color_scheme() -> str:
    """What the browser prefers; see `tests.harness.pages.IN_LIGHT_AND_DARK`."""
    return "light"


@pytest.fixture
def open_in_browser(browser: Any, color_scheme: str) -> Iterator[Callable[..., Any]]:
    """Opens a file; at the end nothing may have been complained of, asked for, or loaded but it."""
    complaints: list[str] = []
    requests: list[str] = []
    opened: list[str] = []
    page = browser.new_page(viewport={"width": 1300, "height": 800}, color_scheme=color_scheme)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: requests.append(asked.url.partition("#")[0]))

    def open_file(path: Path, link: str = "") -> Any:
        opened.append(path.as_uri())
        page.goto(opened[-1] + link)
        return page

    yield open_file
    page.close()
    assert complaints == []
    assert requests == opened

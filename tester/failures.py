"""What is kept of a failing run, so that it can be looked at without running it again.

    .raftlab/failures/index.html                              all of them, the latest first
    .raftlab/failures/test_many_elections-seed-2/
        failure.json      test, seed, verdict, the command that replays it
        report.txt        what pytest printed
        timeline.html     the run as a page
        run.journal       its events, for `labrpc.journal.Journal.read`
        disk/             on the real clock, if a disk lost what it had reported durable: its files
        history.jsonl     what clients asked and were told, for `tester check-history`; history.html draws it

A run with several clusters keeps the last one, which failed. Of all failures the latest `MOST_KEPT` stay.
"""

from __future__ import annotations

import contextlib
import html
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tester.cluster import Cluster
from tester.history import save_history
from tester.porcupine import LinearizationInfo, Model, check_operations_verbose, kv_model, visualize
from tester.service_cluster import KVCluster, ReplicatedKVCluster
from tester.timeline.page import write_page
from tester.timeline.reading import read

__all__ = ["FOLDER", "JOURNAL", "MOST_KEPT", "Failure", "Kept", "failure_in", "keep", "keep_run", "kept"]

FOLDER = Path(".raftlab") / "failures"
"""Below the folder that pytest calls its root."""

JOURNAL = "run.journal"
"""In the folder of a failure."""

MOST_KEPT = 100

_MOST_EVENTS = 250_000
"""Of a longer run, the page shows twice as many at its end, at most."""


class Failure(msgspec.Struct, kw_only=True, frozen=True):
    """One failing run, as in failure.json."""

    test: str
    seed: int
    verdict: str
    virtual_seconds: float
    journal_hash: str
    replay: str
    focus: int | None = None
    """Where to look, in ns of the run's clock; None: at its end."""
    version: int = 1


@dataclass(frozen=True)
class Kept:
    """A failure and the folder that holds it."""

    folder: Path
    failure: Failure


def keep(
    root: Path,
    failure: Failure,
    cluster: Cluster,
    report: str,
    facts: Mapping[str, str],
    disk: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes the folder of `failure`, over an earlier one of the same test and seed; where that is.

    Args:
        disk: file name -> content, of a disk that is to blame.

    Raises:
        OSError: it cannot be written.
    """
    folder = root / FOLDER / f"{failure.test}-seed-{failure.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "report.txt").write_text(report, encoding="utf-8")
    for name, content in (disk or {}).items():
        (folder / "disk").mkdir(exist_ok=True)
        (folder / "disk" / name).write_bytes(content)
    title = f"{failure.test}, seed {failure.seed}"
    keep_run(folder, cluster, title=title, verdict=failure.verdict, focus=failure.focus, facts=facts)
    (folder / "failure.json").write_bytes(msgspec.json.format(msgspec.json.encode(failure)) + b"\n")
    everything = kept(root)
    for old in everything[MOST_KEPT:]:
        shutil.rmtree(old.folder, ignore_errors=True)
    (root / FOLDER / "index.html").write_text(_index(everything[:MOST_KEPT]), encoding="utf-8")
    return folder


def keep_run(
    folder: Path,
    cluster: Cluster,
    *,
    title: str,
    verdict: str | None,
    focus: int | None = None,
    facts: Mapping[str, str],
) -> None:
    """Writes the run's journal, its history if it has one, and its page into `folder`; `verdict` None: it passed.

    Args:
        focus: see `Failure.focus`.

    Raises:
        OSError: it cannot be written.
    """
    with (folder / JOURNAL).open("wb") as file:
        cluster.journal.write(file)
    judged = _keep_history(folder, cluster)
    reading = read(cluster.journal, last=_MOST_EVENTS)
    if reading.left_out:
        facts = {**facts, "note": reading.what_is_left_out}
    reading.end = max(reading.end, cluster.coordinator.now)  # the test may have slept after the last event
    write_page(
        reading,
        folder / "timeline.html",
        title=title,
        verdict=verdict,
        verdict_at=None if verdict is None else cluster.coordinator.now if focus is None else focus,
        facts=facts,
        operations_verdict=judged,
    )


def _keep_history(folder: Path, cluster: Cluster) -> tuple[Model, LinearizationInfo] | None:
    if not isinstance(cluster, KVCluster | ReplicatedKVCluster) or not cluster.clerks.history:
        return None
    history = cluster.clerks.history
    save_history(folder / "history.jsonl", "kv", history)
    model = kv_model()
    _, info = check_operations_verbose(model, history)
    visualize(model, info, folder / "history.html", time_unit="ns")
    return model, info


def kept(root: Path) -> list[Kept]:
    """The failures kept below `root`, the latest first. Folders that are being written or are damaged are not there."""
    found: list[tuple[float, Kept]] = []
    for path in (root / FOLDER).glob("*/failure.json"):
        failure = failure_in(path.parent)
        if failure is not None:
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, Kept(path.parent, failure)))
    return [each for _, each in sorted(found, key=lambda pair: (-pair[0], str(pair[1].folder)))]


def failure_in(folder: Path) -> Failure | None:
    """What failure.json in `folder` says; None if there is none, or it is damaged."""
    try:
        return msgspec.json.decode((folder / "failure.json").read_bytes(), type=Failure)
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError):
        return None


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Failing runs</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
li {{ margin: 0 0 1.1rem; }} code {{ font-size: 90%; overflow-wrap: anywhere; }} p {{ margin: .15rem 0; }}
</style>
<h1>Failing runs</h1>
<ol>
{rows}
</ol>
</html>
"""


def _index(failures: list[Kept]) -> str:
    rows = []
    for each in failures:
        links = ", ".join(
            f'<a href="{html.escape(each.folder.name)}/{name}">{text}</a>'
            for name, text in (("timeline.html", "timeline"), ("history.html", "history"), ("report.txt", "report"))
            if (each.folder / name).exists()
        )
        failure = each.failure
        rows.append(
            f"<li><p><b>{html.escape(failure.test)}</b>, seed {failure.seed}, at {failure.virtual_seconds:.3f} s: "
            f"{links}</p><p>{html.escape(failure.verdict)}</p><p><code>{html.escape(failure.replay)}</code></p></li>"
        )
    return _PAGE.format(rows="\n".join(rows))

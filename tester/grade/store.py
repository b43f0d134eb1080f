"""What is known of a grading, in one SQLite file: written run by run, so that a grading that was killed goes on.

    OUT/grades.sqlite     outcomes, by (submission's digest, suite, test, run, seed); artefacts; submissions; plan
    OUT/grades.lock       held while a process grades into OUT

What is read does not depend on the order in which outcomes came: `outcomes` follows the plan, and of each test of a
submission the artefacts of the two lowest runs that failed are there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from labrpc.errors import HarnessError, UsageError
from tester.grade.records import Job, Outcome, Refusal, Status, Submission

__all__ = ["EXPLAINED", "FILE", "Store"]

FILE = "grades.sqlite"
EXPLAINED = 2
"""Runs of each test whose artefacts are kept: the lowest that failed."""

_LOCK = "grades.lock"
_FORMAT = 1
_LEVEL = 6

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS submissions (
    name TEXT PRIMARY KEY, digest TEXT, refusal TEXT, notes TEXT NOT NULL, left_out TEXT NOT NULL,
    days_late REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trees (digest TEXT PRIMARY KEY, files BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS plan (
    place INTEGER PRIMARY KEY, digest TEXT NOT NULL, part TEXT NOT NULL, test TEXT NOT NULL, run INTEGER NOT NULL,
    seed INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS plan_of_submission ON plan (digest, place);
CREATE TABLE IF NOT EXISTS outcomes (
    digest TEXT, suite TEXT, test TEXT, run INTEGER, seed INTEGER, part TEXT NOT NULL, status TEXT NOT NULL,
    verdict TEXT NOT NULL, journal_hash TEXT NOT NULL, virtual_s REAL NOT NULL, cpu_s REAL NOT NULL,
    attempts INTEGER NOT NULL, PRIMARY KEY (digest, suite, test, run, seed)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS artefacts (
    digest TEXT, suite TEXT, test TEXT, run INTEGER, seed INTEGER, name TEXT, data BLOB NOT NULL,
    PRIMARY KEY (digest, suite, test, run, seed, name));
"""

_KEY = "digest = ? AND suite = ? AND test = ? AND run = ? AND seed = ?"


class Store:
    """The grading kept in folder `out`, open for writing.

    One thread uses it. Close it, or use it in a `with`.

    Raises:
        UsageError: another process grades into `out`, or what is there is no grading, or one of another version.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / FILE
        self._lock = _lock(out)
        try:
            self._db = _connect(self.path)
            self._db.executescript(_TABLES)
            if self.fact("format", str(_FORMAT)) != str(_FORMAT):
                raise UsageError(f"{self.path} is of another version of this program; name another folder with --out")
            self.set_fact("format", str(_FORMAT))
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise UsageError(f"{self.path} cannot be used: {error}; name another folder with --out") from None
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Lets go of the file and of the lock."""
        self._db.close()
        self._lock.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ what is graded

    def fact(self, name: str, default: str = "") -> str:
        """What is kept under `name`: `suite`, `seeds` (a fingerprint), `course`, `settings` (both JSON)."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @property
    def suite(self) -> str:
        """The digest of the judge that this grading is by; outcomes of another are not read."""
        return self.fact("suite")

    @property
    def settings(self) -> dict[str, Any]:
        """What the grading was asked for, e.g. `{"not_sandboxed": "", "seeds": "hidden"}`."""
        settings: dict[str, Any] = json.loads(self.fact("settings", "{}"))
        return settings

    def begin(
        self,
        submissions: Iterable[Submission | Refusal],
        plan: Iterable[Job],
        *,
        suite: str,
        seeds: str,
        course: str = "{}",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Says what this grading is of, in place of what was said before; outcomes stay.

        Args:
            plan: the jobs, in the order in which `outcomes` is to give them.
            suite: see `suite`.
            seeds: fingerprint of where they come from.
            course: in JSON, for whoever reads the file.

        Raises:
            UsageError: the seeds come from elsewhere than those of the outcomes that are there.
        """
        before = self.fact("seeds")
        if before and not _goes_on(before, seeds):
            raise UsageError(
                f"{self.path} is a grading under other seeds ({_kind(before)}; now: {_kind(seeds)}): "
                "give the same, or name another folder with --out"
            )
        with self._transaction():
            for name, value in (("suite", suite), ("seeds", seeds), ("course", course)):
                self.set_fact(name, value)
            self.set_fact("settings", json.dumps(dict(settings or {}), sort_keys=True))
            for table in ("submissions", "plan", "trees"):
                self._db.execute(f"DELETE FROM {table}")
            for each in submissions:
                self._db.execute("INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?)", _row_of(each))
                if isinstance(each, Submission):
                    files = zlib.compress(msgspec.msgpack.encode(dict(each.files)), _LEVEL)
                    self._db.execute("INSERT OR IGNORE INTO trees VALUES (?, ?)", (each.digest, files))
            rows = ((job.digest, job.part, job.test, job.run, job.seed) for job in plan)
            self._db.executemany("INSERT INTO plan (digest, part, test, run, seed) VALUES (?, ?, ?, ?, ?)", rows)

    def submissions(self) -> list[Submission]:
        """What is graded, by name."""
        rows = self._db.execute(
            "SELECT name, digest, files, left_out, notes, days_late FROM submissions JOIN trees USING (digest) "
            "ORDER BY name"
        )
        return [
            Submission(
                name=name,
                digest=digest,
                files=msgspec.msgpack.decode(zlib.decompress(files), type=dict[str, bytes]),
                left_out=tuple(json.loads(left_out)),
                notes=tuple(json.loads(notes)),
                days_late=days_late,
            )
            for name, digest, files, left_out, notes, days_late in rows
        ]

    def refusals(self) -> list[Refusal]:
        """What could not be taken, by name."""
        rows = self._db.execute("SELECT name, refusal FROM submissions WHERE refusal IS NOT NULL ORDER BY name")
        return [Refusal(name, reason) for name, reason in rows]

    # ------------------------------------------------------------------ what is known

    def missing(self) -> list[Job]:
        """The jobs of the plan that are still to be done, in its order; those that ended as HARNESS are."""
        rows = self._db.execute(
            "SELECT plan.digest, plan.part, plan.test, plan.run, plan.seed FROM plan LEFT JOIN outcomes ON "
            "outcomes.digest = plan.digest AND outcomes.suite = ? AND outcomes.test = plan.test AND "
            "outcomes.run = plan.run AND outcomes.seed = plan.seed "
            "WHERE outcomes.status IS NULL OR outcomes.status = ? ORDER BY place",
            (self.suite, Status.HARNESS.value),
        )
        return [Job(*row) for row in rows]

    def count(self) -> int:
        """How many jobs the plan has."""
        return int(self._db.execute("SELECT count(*) FROM plan").fetchone()[0])

    def add(self, outcome: Outcome) -> None:
        """Keeps an outcome, in place of an earlier one of the same job, durable against the end of this process."""
        job = outcome.job
        key = self._key(job)
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, job.part, outcome.status.value, outcome.verdict, outcome.journal_hash, outcome.virtual_s,
                 outcome.cpu_s, outcome.attempts),
            )  # fmt: skip
            self._db.execute(f"DELETE FROM artefacts WHERE {_KEY}", key)
            self._db.executemany(
                "INSERT INTO artefacts VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(*key, name, zlib.compress(data, _LEVEL)) for name, data in sorted(outcome.artefacts.items())],
            )
            lowest = self._lowest_failed(job)
            if len(lowest) > EXPLAINED:
                self._db.execute(
                    "DELETE FROM artefacts WHERE digest = ? AND suite = ? AND test = ? AND run IN (SELECT run FROM "
                    "outcomes WHERE digest = ? AND suite = ? AND test = ? AND status = ? AND run > ?)",
                    (*key[:3], *key[:3], Status.FAILED.value, lowest[EXPLAINED - 1]),
                )

    def is_explained(self, job: Job) -> bool:
        """Whether the artefacts of `job`, should it fail, would not be kept: enough lower runs are known to have
        failed."""
        lowest = self._lowest_failed(job)
        return len(lowest) >= EXPLAINED and lowest[EXPLAINED - 1] < job.run

    def _lowest_failed(self, job: Job) -> list[int]:
        """One run more than are explained, if there are so many."""
        rows = self._db.execute(
            "SELECT run FROM outcomes WHERE digest = ? AND suite = ? AND test = ? AND status = ? ORDER BY run LIMIT ?",
            (job.digest, self.suite, job.test, Status.FAILED.value, EXPLAINED + 1),
        )
        return [run for (run,) in rows]

    def outcomes(self, digest: str) -> list[Outcome]:
        """What is known of the planned jobs of a submission, in the plan's order, without artefacts."""
        rows = self._db.execute(
            "SELECT plan.digest, plan.part, plan.test, plan.run, plan.seed, status, verdict, journal_hash, virtual_s, "
            "cpu_s, attempts FROM plan JOIN outcomes ON outcomes.digest = plan.digest AND outcomes.suite = ? AND "
            "outcomes.test = plan.test AND outcomes.run = plan.run AND outcomes.seed = plan.seed "
            "WHERE plan.digest = ? ORDER BY place",
            (self.suite, digest),
        )
        return [Outcome(Job(*row[:5]), Status(row[5]), *row[6:]) for row in rows]

    def artefacts(self, job: Job) -> dict[str, bytes]:
        """File name -> content, of one of the `EXPLAINED` lowest runs of its test that failed; else none."""
        rows = self._db.execute(f"SELECT name, data FROM artefacts WHERE {_KEY} ORDER BY name", self._key(job))
        return {name: zlib.decompress(data) for name, data in rows}

    # ------------------------------------------------------------------ inside

    def _key(self, job: Job) -> tuple[str, str, str, int, int]:
        return job.digest, self.suite, job.test, job.run, job.seed

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    return database


def _lock(out: Path) -> Any:
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / _LOCK).open("a")
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UsageError(f"another process grades into {out}; wait for its end, or name another folder") from None
    except OSError as error:
        file.close()
        raise HarnessError(f"{out / _LOCK} cannot be locked: {error}; choose a folder on a local disk") from None
    return file


def _row_of(each: Submission | Refusal) -> tuple[Any, ...]:
    if isinstance(each, Refusal):
        return each.name, None, each.reason, "[]", "[]", 0.0
    return each.name, each.digest, None, _json(each.notes), _json(each.left_out), each.days_late


def _json(texts: Sequence[str]) -> str:
    return json.dumps(list(texts))


def _kind(seeds: str) -> str:
    kind, _, rest = seeds.partition(" ")
    return "a hidden seed" if kind == "hidden" else f"public ones, {len(rest.split())} of them"


def _goes_on(before: str, now: str) -> bool:
    """Whether the outcomes of a grading under `before` fit one under `now`: of public seeds one may begin the other."""
    if before.startswith("public ") and now.startswith("public "):
        first, second = before.split(), now.split()
        common = min(len(first), len(second))
        return first[:common] == second[:common]
    return before == now

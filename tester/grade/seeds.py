"""Under which seed each run of a grading is.

    --seeds FILE             public: run k of every test has the seed in line k
    --hidden-seed-file FILE  HMAC-SHA256(secret, submission's digest, test, run): 63 bits

A hidden seed depends on the submission, so that the replay command of a run that failed, which gives its seed away,
says nothing of the seeds of the next submission. The secret is in no output, no file and no worker: what is kept of it
is a fingerprint that is slow to compute, and what is sent to a worker is the seed of one run.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from labrpc.errors import UsageError

__all__ = ["HiddenSeeds", "PublicSeeds", "Seeds", "read_secret", "read_seeds"]

_LARGEST = (1 << 63) - 1
_SHORTEST_SECRET = 16
_MOST_SEEDS = 100_000


class Seeds(Protocol):
    """Where seeds come from.

    Attributes:
        fingerprint: of the source: a grading that goes on must have the same.
        most: runs there are seeds for; None: as many as wanted.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def most(self) -> int | None: ...

    def seed(self, digest: str, test: str, run: int) -> int:
        """The seed of run `run` (from 0) of `test` on the submission with `digest`."""
        ...


class PublicSeeds:
    """Run k of every test of every submission has `seeds[k]`.

    Raises:
        UsageError: there are none, or they are not what a seed may be.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        if not seeds:
            raise UsageError("there are no seeds; give at least one")
        for seed in seeds:
            if not 0 <= seed <= _LARGEST:
                raise UsageError(f"seed {seed} is not in 0..{_LARGEST}")
        twice = [seed for seed, times in Counter(seeds).items() if times > 1]
        if twice:
            raise UsageError(f"seed {twice[0]} is there twice: that run would count twice")
        self.seeds = tuple(seeds)

    @property
    def fingerprint(self) -> str:
        return "public " + " ".join(map(str, self.seeds))

    @property
    def most(self) -> int | None:
        return len(self.seeds)

    def seed(self, digest: str, test: str, run: int) -> int:
        return self.seeds[run]


class HiddenSeeds:
    """Seeds that nobody can know who does not have `secret`.

    Raises:
        UsageError: the secret is so short that one of its seeds would give it away.
    """

    most: int | None = None

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST_SECRET:
            raise UsageError(
                f"the hidden seed has {len(secret)} characters, fewer than {_SHORTEST_SECRET}: who sees one run's seed "
                "could guess it; make one with: python3 -c 'import secrets; print(secrets.token_hex())' > FILE"
            )
        self._secret = secret

    @property
    def fingerprint(self) -> str:
        slow = hashlib.scrypt(self._secret, salt=b"raftlab hidden seed", n=1 << 14, r=8, p=1, dklen=16)
        return f"hidden {slow.hex()}"

    def seed(self, digest: str, test: str, run: int) -> int:
        said = f"{digest}\0{test}\0{run}".encode()
        return int.from_bytes(hmac.digest(self._secret, said, "sha256")[:8], "big") >> 1


def read_seeds(path: Path) -> PublicSeeds:
    """The seeds in a file: one a line, decimal or 0x…; empty lines and # comments are passed over.

    Raises:
        UsageError: it cannot be read, or a line is no seed.
    """
    seeds = []
    for number, line in enumerate(_read(path, "--seeds").decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            seeds.append(int(text, 0))
        except ValueError:
            raise UsageError(f"{path}, line {number}: {text[:40]} is not a number; write a seed a line") from None
        if len(seeds) > _MOST_SEEDS:
            raise UsageError(f"{path} has more than {_MOST_SEEDS} seeds")
    try:
        return PublicSeeds(seeds)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def read_secret(path: Path) -> HiddenSeeds:
    """The hidden seeds of the secret in a file; white space around it is no part of it.

    Raises:
        UsageError: it cannot be read, or is too short.
    """
    return HiddenSeeds(_read(path, "--hidden-seed-file").strip())


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror or error}") from None

"""What a worker is asked, and what it says: msgpack messages in frames (labrpc.framing) over a socket pair.

pool --Ask--> worker        pool <--Beat-- worker, once a second        pool <--Answer-- worker, once for each Ask
"""

from __future__ import annotations

import msgspec

from tester.grade.records import Job

__all__ = ["Answer", "Ask", "Beat", "decode_answer", "decode_ask", "encode"]


class Ask(msgspec.Struct, frozen=True):
    """One job to do.

    Attributes:
        files: of the submission; None: those of the last job, which was of the same one.
        explain: whether the artefacts of a run that fails are wanted.
        wall_limit_s: seconds that the run may take.
    """

    job: Job
    files: dict[str, bytes] | None
    explain: bool
    wall_limit_s: float


class Beat(msgspec.Struct, frozen=True, tag=True):
    """The worker is there: bytes of memory that it uses."""

    memory: int


class Answer(msgspec.Struct, frozen=True, tag=True):
    """How a job ended.

    Attributes:
        verdict: "" if it passed.
        fault: what went wrong in the harness instead; then there is no verdict.
        depends: whether the machine may have had a say in the verdict: a process was killed, or took too long.
        is_over: whether the run was over its wall limit.
        busy: of such a run, the share of that time that its servers computed; None: not known.
    """

    verdict: str = ""
    fault: str = ""
    depends: bool = False
    is_over: bool = False
    busy: float | None = None
    journal_hash: str = ""
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    artefacts: dict[str, bytes] = {}


encode = msgspec.msgpack.Encoder().encode
decode_ask = msgspec.msgpack.Decoder(Ask).decode
decode_answer = msgspec.msgpack.Decoder(Beat | Answer).decode

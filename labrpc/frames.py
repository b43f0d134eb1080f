"""What passes between the coordinator and a host: inbox items in, timed effects out.

    coordinator --inbox items--> host --effects, each at its own instant--> coordinator

The same structures are handed over as objects when the host is in this process, and as MessagePack frames when it is a
child process. Decoding a frame checks every field's type: a child can lie, not confuse.
Instants (`at`) are nanoseconds, on virtual time since the run began.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "Annotation",
    "AnnotationEnd",
    "Answer",
    "Apply",
    "Boot",
    "Call",
    "Control",
    "Dump",
    "Effect",
    "HostSettings",
    "InboxItem",
    "Output",
    "Reply",
    "Report",
    "Request",
    "Result",
    "Save",
    "Saved",
    "SetClock",
]


class _Frame(msgspec.Struct, array_like=True, tag=True, gc=False):
    pass


class HostSettings(msgspec.Struct, array_like=True):
    """What makes one incarnation of a host: who it is, its random streams and how it is disturbed.

    `key`, `path` and `calm` are those of its `Streams`; `overrides` are (stream, decision, value) triples for them;
    `stretch_steps` and `changes` are those of its `StallPlan`.
    """

    name: str
    incarnation: int
    key: bytes
    path: str
    overrides: list[tuple[str, int, int]]
    mean_gap_steps: int
    longest_stall_ns: int
    longest_async_save_ns: int
    output_limit: int
    calm: bool = False
    longest_sync_save_ns: int = 0
    stretch_steps: int = 0
    changes: int = 0


# ------------------------------------------------------------------ inbox: coordinator to host


class Boot(_Frame):
    """Start the program, a module with `boot(host)`. `ends` are the names of the hosts it may call, in order."""

    program: str
    ends: list[str]
    config: bytes
    raft_state: bytes
    snapshot: bytes


class Request(_Frame):
    """An RPC arrives: run handler `method` ("Raft.request_vote") on a thread of its own."""

    call: int
    method: str
    payload: bytes


class Reply(_Frame):
    """The outcome of a call made here. `payload` is None when it was lost; `error` is the caller's misuse, if any."""

    call: int
    payload: bytes | None
    error: str = ""


class Control(_Frame):
    """The test calls the program's control `name` with the encoded tuple of arguments `payload`."""

    control: int
    name: str
    payload: bytes


class SetClock(_Frame):
    """From now on the host's clock is `offset_ns` ahead and runs `drift_ppm` parts per million fast."""

    offset_ns: int
    drift_ppm: int


class Dump(_Frame):
    """Answer with a `Report` of kind `threads`: every thread, its stack, what it waits for and who holds it."""


InboxItem = Boot | Request | Reply | Control | SetClock | Dump

# ------------------------------------------------------------------ effects: host to coordinator


class Call(_Frame):
    """The host sends an RPC to `target`."""

    at: int
    call: int
    target: str
    method: str
    payload: bytes


class Answer(_Frame):
    """The handler of request `call` returned; `payload` is None when it died."""

    at: int
    call: int
    payload: bytes | None
    error: str = ""


class Save(_Frame):
    """Save `number` was handed to the disk. `snapshot` None keeps the one there is."""

    at: int
    number: int
    raft_state: bytes
    snapshot: bytes | None


class Saved(_Frame):
    """Save `number`, and so every earlier one, is durable."""

    at: int
    number: int


class Apply(_Frame):
    """The server handed a message to its service through `apply_ch`."""

    at: int
    payload: bytes


class Result(_Frame):
    """Control `control` returned `payload`."""

    at: int
    control: int
    payload: bytes


class Output(_Frame):
    """A line the server printed or logged."""

    at: int
    thread: str
    text: str


class Annotation(_Frame):
    """Annotation `number` of this incarnation, from 1; `lasts`: until it is ended, not for this instant only."""

    at: int
    number: int
    tag: str
    text: str
    lasts: bool = False


class AnnotationEnd(_Frame):
    """Annotation `number` has lasted until now."""

    at: int
    number: int


class Report(_Frame):
    """The host's diagnosis of the code it runs.

    Kinds that fail the test: `boot`, `died`, `deadlock`, `spin`, `misuse`, `output`; of a process on real time also
    `process` (it died or is not understood) and, as nobody's fault who is tested, `disk` and `lab`. Kinds that warn:
    `rpc-under-lock`, `foreign-release`. `threads` answers a `Dump`: `text` has a name a line. `site` is file:line;
    `detail` is a traceback or a list of threads.
    """

    at: int
    kind: str
    text: str
    site: str
    detail: str


Effect = Call | Answer | Save | Saved | Apply | Result | Output | Annotation | AnnotationEnd | Report

"""What children say is bounded and checked, and no lie of theirs becomes an error of the judge's: fuzz on three levels.

bytes on the socket  ->  a step, or a verdict        (ProcessMachine)
effects of a step    ->  a step, or a broken claim   (Claims)
payloads in a run    ->  the run goes on, or fails as an assertion; its journal can be read and drawn
"""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labrpc.codec import EnumRecord, Record, decode_record, encode
from labrpc.errors import CodeFault
from labrpc.frames import (
    Annotation,
    AnnotationEnd,
    Answer,
    Apply,
    Boot,
    Call,
    Control,
    HostSettings,
    Output,
    Reply,
    Report,
    Request,
    Result,
    Save,
    Saved,
)
from labrpc.framing import receive, send
from labrpc.virtual.claims import Bounds, BrokenClaim, Budget, Claims, harmless
from labrpc.virtual.machines import InProcessMachines
from labrpc.virtual.processes import ProcessMachine, ProcessMachines
from labrpc.virtual.steps import Step
from tester import export_jsonl
from tester.graded import graded_test
from tester.run import Options, Run
from tester.timeline.page import write_page
from tester.timeline.reading import read

SETTINGS = HostSettings("1", 1, b"k" * 16, "host/1/1", [], 0, 0, 0, 1000, False)
BOOT = Boot("p", ["0", "1", "2"], b"", b"", b"")
MS = 1_000_000


# ------------------------------------------------------------------ effects


def check(
    *effects: Any, inbox: Any = (), bounds: Bounds | None = None, clock: int = 100, wake: int | None = None
) -> Claims:
    claims = Claims(bounds or Bounds(), SETTINGS.output_limit)
    claims.hear([BOOT, *inbox])
    claims.check(10, MS, list(effects), clock, wake)
    return claims


SMALL = Bounds(effects=3, message_bytes=8, save_bytes=8, pending_save_bytes=2030, pending_calls=2, reports=1)

BROKEN = {
    "too many effects": ([Saved(10, 1)] * 4, "did more than 3 things in one step"),
    "an effect before its step": ([Output(9, "", "")], "instants that are out of order"),
    "effects out of order": ([Output(12, "", ""), Output(11, "", "")], "instants that are out of order"),
    "an effect after its step": ([Output(2_000_000_000, "", "")], "instants that are out of order"),
    "a call out of turn": ([Call(10, 2, "0", "m", b"")], "numbered its call 1 as 2"),
    "a call to nobody": ([Call(10, 1, "c7", "m", b"")], "called 'c7', to which it has no end"),
    "a method that is no name": ([Call(10, 1, "0", "\x1b[0m", b"")], "whose name is no name"),
    "a long argument": ([Call(10, 1, "0", "m", bytes(9))], "an RPC's argument of more than"),
    "too many calls": ([Call(10, n, "0", "m", b"") for n in (1, 2, 3)], "has more than 2 calls under way"),
    "an answer to nothing": ([Answer(10, 5, b"")], "answered a request that it was not sent"),
    "a long reply": ([Answer(10, 4, bytes(9))], "an RPC's reply of more than"),
    "two answers": ([Answer(10, 4, b""), Answer(10, 4, b"")], "answered a request that it was not sent"),
    "a save out of turn": ([Save(10, 2, b"", None)], "numbered its save 1 as 2"),
    "a large save": ([Save(10, 1, bytes(5), bytes(4))], "saved more than"),
    "too much to save": ([Save(10, n, bytes(8), bytes(0)) for n in (1, 2, 3)], "of saves under way"),
    "a save that was not begun": ([Saved(10, 1)], "claims that save 1 is durable"),
    "saves done out of turn": ([Save(10, 1, b"", b""), Save(10, 2, b"", b""), Saved(10, 2)], "claims that save 2 is"),
    "a long apply": ([Apply(10, bytes(9))], "an applied message of more than"),
    "a result of nothing": ([Result(10, 9, b"\xc0")], "answered a control call that it was not sent"),
    "two results": ([Result(10, 3, b"\xc0")] * 2, "answered a control call that it was not sent"),
    "a result that is none": ([Result(10, 3, b"\xc1")], "returned what is no value"),
    "too much output": ([Output(10, "", "x" * 12_000)], "printed and annotated more than it may"),
    "an annotation out of turn": ([Annotation(10, 2, "", "")], "numbered its annotation 1 as 2"),
    "an annotation that is not there": ([AnnotationEnd(10, 1)], "ended an annotation that it did not make"),
    "a report of another's": ([Report(10, "lab", "", "", "")], "reported on itself what it could not"),
    "too many reports": ([Report(10, "rpc-under-lock", "", "", "")] * 2, "reported on itself what it could not"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_claim_that_cannot_be_is_refused(name):
    effects, text = BROKEN[name]
    inbox = [Request(4, "m", b""), Control(3, "c", b"")]
    with pytest.raises(BrokenClaim, match=re.escape(text)):
        check(*effects, inbox=inbox, bounds=SMALL)


def test_claims_that_can_be_are_taken():
    check(
        Call(10, 1, "0", "m", b""), Answer(11, 4, b""), Save(12, 1, b"", None), Saved(12, 1), Apply(13, b""),
        Result(14, 3, b"\xc0"), Output(15, "t", "x"), Annotation(16, 1, "t", "x"), AnnotationEnd(17, 1),
        Report(18, "died", "x", "", ""), inbox=[Request(4, "m", b""), Control(3, "c", b"")],
    )  # fmt: skip


@pytest.mark.parametrize(("clock", "wake"), [(2 * 10**9, None), (100, -1), (2**63, None)])
def test_a_step_ends_within_its_time(clock, wake):
    with pytest.raises(BrokenClaim, match="out of its step"):
        check(clock=clock, wake=wake)


def test_calls_that_were_answered_are_not_under_way():
    claims = check(Call(10, 1, "0", "m", b""), Call(10, 2, "0", "m", b""), bounds=SMALL)
    claims.hear([Reply(1, None)])
    claims.check(10, MS, [Call(10, 3, "0", "m", b"")], 100, None)


def test_texts_are_cut_and_written_out():
    report = Report(10, "died", "\x1b[2J" + "x" * 20_000, "a\u202eb", "line\n\tline\x07")
    check(report)
    assert report.text.startswith(r"\x1b[2Jxxx")
    assert report.text.endswith("… (10004 more characters)")
    assert report.site == r"a\u202eb"
    assert report.detail == "line\n\tline\\x07"
    assert harmless("naïve Δ 学生 🙂", 99) == "naïve Δ 学生 🙂"


def test_a_run_ends_when_its_hosts_have_said_too_much_and_names_the_one_that_said_most():
    budget = Budget(Bounds(run_bytes=5 << 20, run_wall_s=3.0))
    assert budget.spend("server 0", 1 << 20, 0.1) is None
    assert budget.spend("server 2", 3 << 20, 0.1) is None
    assert str(budget.spend("server 1", 2 << 20, 0.1)).startswith(
        "server 2: the run's servers and clerks said more than 5 MiB"
    )


def test_a_run_ends_when_its_steps_have_taken_too_long_and_names_the_one_that_took_most():
    budget = Budget(Bounds(run_wall_s=3.0))
    assert budget.spend("server 0", 1, 1.0) is None
    assert budget.spend("clerk 1", 1, 1.5) is None
    slow = budget.spend("server 0", 1, 0.6)
    assert slow is not None
    assert "3 s of wall time" in str(slow)
    assert slow.is_of_the_machine
    assert str(budget.spend("clerk 1", 1, 2.0)).startswith("clerk 1: ")


# ------------------------------------------------------------------ bytes


class FakeNursery:
    """Children are threads that answer each frame with bytes of the test's choice."""

    sandboxed = False

    def __init__(self, answers: Callable[[bytes], bytes]) -> None:
        self._answers = answers

    def fork(self, role: str, settings: Any, bundle: bytes, files: list[int]) -> int:
        connection = socket.socket(fileno=socket.dup(files[0]))

        def serve() -> None:
            with connection:
                while True:
                    try:
                        question = receive(connection)
                        if question is None:
                            return
                        answer = self._answers(question)
                        if not answer:
                            return
                        connection.sendall(answer)
                    except OSError:
                        return

        threading.Thread(target=serve, daemon=True).start()
        return 1

    def end(self, pid: int, **options: Any) -> int:
        return 0

    def signal(self, pid: int, number: int) -> None:
        pass


class FakeBundle:
    files: ClassVar[dict[str, str]] = {}

    def to_bytes(self) -> bytes:
        return b""


def machine(answers: Callable[[bytes], bytes], **bounds: Any) -> ProcessMachine:
    chosen = Bounds(step_wall_s=0.2, **bounds)
    return ProcessMachines(FakeBundle(), FakeNursery(answers), bounds=chosen).create(SETTINGS)  # type: ignore[arg-type]


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


encoded = msgspec.msgpack.encode
GOOD = encoded((
    [Call(10, 1, "0", "m", b"x"), Answer(11, 4, b"y"), Save(12, 1, b"s", None), Saved(12, 1), Output(13, "t", "hello")],
    100, None,
))  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    copy = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        place = draw.randrange(len(copy))
        kind = draw.randrange(4)
        if kind == 0:
            copy[place] = draw.randrange(256)
        elif kind == 1:
            del copy[place : place + draw.randrange(1, 5)]
        elif kind == 2:
            copy[place:place] = draw.randbytes(draw.randrange(1, 9))
        else:
            copy += copy[place : place + 8]
        if not copy:
            break
    return bytes(copy)


def steps_or_fails(answer: bytes) -> bool:
    """Whether a child that answers so makes a step; else it is a verdict, and nothing else comes out."""
    child = machine(lambda _: answer)
    verdict = ""
    try:
        done = child.step(10, MS, [BOOT, Request(4, "m", b"")])
    except CodeFault as fault:
        verdict = str(fault)
    finally:
        child.end()
    if verdict:
        assert verdict.startswith("server 1: ")
        return False
    assert all(isinstance(effect, msgspec.Struct) for effect in done.effects)
    return True


def test_a_good_frame_is_a_step():
    assert steps_or_fails(framed(GOOD))


@pytest.mark.parametrize("seed", range(5))
def test_a_changed_frame_is_a_step_or_a_verdict(seed):
    draw = random.Random(seed)
    outcomes = {steps_or_fails(framed(mutated(GOOD, draw))) for _ in range(200)}
    assert False in outcomes


@given(st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_verdict(data):
    assume(not data.startswith(b"\x93\x90"))  # a step in which nothing happened
    assert not steps_or_fails(framed(data))


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_any_value_is_a_verdict(value):
    assume(not (isinstance(value, list) and len(value) == 3 and value[0] == []))  # a step in which nothing happened
    assert not steps_or_fails(framed(encoded(value)))


RAW = {
    "nothing": b"",
    "a bit of a header": b"\0\0",
    "half a frame": framed(GOOD)[:-3],
    "a frame and a half": framed(GOOD) + framed(GOOD)[:5],
    "more than may be": b"\xff\xff\xff\xff",
    "an endless list": framed(b"\x93\xdd\xff\xff\xff\xff"),
    "ten thousand levels": framed(b"\x91" * 10_000 + b"\xc0"),
    "a text that is none": framed(b"\x93\x91\x95\xa6Output\x0b\xa1\xff\xa1a\x64\xc0"),
    "a huge instant": framed(b"\x93\x90\xcf" + b"\xff" * 8 + b"\xc0"),
    "another type": framed(b"\x93\x91\x92\xa4Boot\x00\x64\xc0"),
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_frame_is_a_verdict(name):
    assert not steps_or_fails(RAW[name])


def test_a_child_that_does_not_read_is_not_waited_for():
    held: list[socket.socket] = []

    class Deaf(FakeNursery):
        def fork(self, role: str, settings: Any, bundle: bytes, files: list[int]) -> int:
            held.append(socket.socket(fileno=socket.dup(files[0])))
            return 1

    machines = ProcessMachines(FakeBundle(), Deaf(lambda _: b""), bounds=Bounds(step_wall_s=0.2))  # type: ignore[arg-type]
    with pytest.raises(CodeFault, match=r"did not come back from a step within 0\.2 s"):
        machines.create(SETTINGS).step(10, MS, [Request(4, "m", bytes(8 << 20))])
    held[0].close()


def test_an_answer_to_no_question_is_a_verdict():
    child = machine(lambda question: framed(b"x") if not question else framed(GOOD))
    with pytest.raises(CodeFault, match="an answer to no question"):
        child.collect()


def test_frames_still_go_both_ways():
    ours, theirs = socket.socketpair()
    threading.Thread(target=lambda: send(theirs, bytes(1 << 20)), daemon=True).start()
    assert receive(ours, within_s=10) == bytes(1 << 20)
    ours.close()
    theirs.close()


# ------------------------------------------------------------------ payloads, in runs of the reference


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


VALUES = [
    None,
    True,
    -1,
    0,
    2**63 - 1,
    2**64 + 5,
    16**2000,
    16**3000,
    "",
    "x" * 100,
    "\x1b[2J",
    b"",
    [],
    [1],
    {},
    {"term": 1},
    float("nan"),
    float("inf"),
    Record("Evil", {}),
    Record("Evil", {"term": "x"}),
    EnumRecord("Err", "OK"),
    nested(90),
    (1, 2),
    {1: 2},
    {(1, 2): [3]},
    [Record("LogEntry", {"term": None})],
    [Record("LogEntry", {"term": 2**62})],
]

_MESSAGE = 1


def ext(code: int, data: bytes) -> bytes:
    return b"\xc9" + len(data).to_bytes(4, "big") + bytes([code]) + data


def nested_ext(levels: int) -> bytes:
    data = b"\xc0"
    for _ in range(levels):
        data = ext(_MESSAGE, b"\x92\xa1x\x81\xa1y" + data)
    return data


PAYLOADS = [
    b"",
    b"\xc1",
    b"\x91" * 5_000 + b"\xc0",
    b"\xdd\xff\xff\xff\xff",
    ext(99, b""),
    ext(_MESSAGE, b""),
    nested_ext(60),
    nested_ext(400),
    ext(_MESSAGE, b"\x92\x01\x80"),
    ext(_MESSAGE, b"\x92\xa1x\x01"),
    ext(_MESSAGE, b"\x92\xa1x\x81\x01\x02"),
    ext(3, b"f" * 5_000),
    ext(3, b"zz"),
    ext(4, b"\x92\x01\x02"),
    ext(5, b"\x91\x01"),
    ext(2, b"\x01"),
    b"\x81\x90\x01",
    encoded([None] * 50_000),
    b"\xa1\xff",
    ext(5, b"\x91\x92" + ext(_MESSAGE, b"\x92\xa1x\x80") + b"\x01"),
]


class Liar:
    """A machine that lies now and then, with its claims checked as a child's are."""

    def __init__(self, inner: Any, host_settings: HostSettings, draw: random.Random, per_thousand: int) -> None:
        self._inner = inner
        self._draw = draw
        self._per_thousand = per_thousand
        self._claims = Claims(Bounds(), host_settings.output_limit)
        self.title = host_settings.name

    def step(self, now: int, limit: int, inbox: list[Any]) -> Step:
        self._claims.hear(inbox)
        effects, clock, wake = self._inner.step(now, limit, inbox)
        for effect in effects:
            if getattr(effect, "payload", None) is not None and self._draw.randrange(1000) < self._per_thousand:
                effect.payload = self._lie(effect.payload)
        try:
            self._claims.check(now, limit, effects, clock, wake)
        except BrokenClaim as claim:
            raise CodeFault(f"server {self.title}: it {claim}") from None
        return Step(effects, clock, wake)

    def _lie(self, payload: bytes) -> bytes:
        draw = self._draw
        body = decode_record(payload)
        if isinstance(body, Record) and body.fields and draw.randrange(4):
            fields = dict(body.fields)
            name = draw.choice(sorted(fields))
            if draw.randrange(5):
                fields[name] = draw.choice(VALUES)
            else:
                del fields[name]
            if isinstance(fields.get("entries"), list) and fields["entries"] and draw.randrange(2):
                fields["entries"] = [draw.choice([draw.choice(VALUES), entry]) for entry in fields["entries"]]
            return encode(Record(body.type_name, fields))
        return draw.choice([*PAYLOADS, encode(draw.choice(VALUES))])

    def collect(self) -> None:
        self._inner.collect()

    def end(self) -> None:
        self._inner.end()


class LyingRun(Run):
    """A run some of whose servers lie."""

    def __init__(self, seed: int, per_thousand: int) -> None:
        super().__init__(seed, Options())
        self._draw = random.Random(seed)
        self._per_thousand = per_thousand

    def machines(self, ledger: Any = None) -> Any:
        outer, inner = self, InProcessMachines(self.options.bundle(), ledger)

        class Liars:
            def create(self, host_settings: HostSettings) -> Liar:
                return Liar(inner.create(host_settings), host_settings, outer._draw, outer._per_thousand)

            def close(self) -> None:
                inner.close()

        return Liars()


TESTS = (
    "test_basic_agree",
    "test_backup",
    "test_snapshot_install",
    "test_unreliable_put",
    "test_rsm_concurrent",
    "test_one_partition",
)


@pytest.mark.parametrize("per_thousand", [3, 300])
@pytest.mark.parametrize("name", TESTS)
def test_servers_that_lie_fail_by_a_verdict_and_their_run_can_be_drawn(name, per_thousand, tmp_path):
    for seed in range(4):
        run = LyingRun(seed, per_thousand)
        error = graded_test(name).attempt(run)
        run.close()
        if error is not None and not isinstance(error, AssertionError):
            raise error
        reading = read(run.clusters[-1].journal)
        assert sum(1 for _ in export_jsonl.lines(run.clusters[-1].journal)) == 1 + len(run.clusters[-1].journal)
        write_page(reading, tmp_path / "page.html", title="x", verdict=None if error is None else str(error), facts={})

"""Annotations: instants and intervals of server code, which change nothing in the run they are put into."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from labrpc import Annotation, annotate
from labrpc.errors import CodeFault
from labrpc.journal import Annotated, AnnotationEnded, Booted, Printed, Stopped
from tester.timeline.reading import Interval, Reading, read

# ------------------------------------------------------------------ outside a host


def test_outside_a_host_it_does_nothing():
    noted = annotate("election", "term 1")
    assert isinstance(noted, Annotation)
    noted.end()
    noted.end()
    with annotate("election", "term 2") as inside:
        inside.end()
    with pytest.raises(KeyError), annotate("election", "term 3"):
        raise KeyError


# ------------------------------------------------------------------ in both worlds

SERVER = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.me, self.total, self.waiting = ends, me, 0, None
        self.mu = threading.Lock()

    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(args.number)

    def work(self, n):
        annotate("work", f"begins {n}")
        with annotate("work", f"of {self.me}: {[x + self.total for x in range(3)]}"):
            time.sleep(0.1)
            with annotate("part", "first") as part:
                time.sleep(0.1)
                part.end()
                time.sleep(0.1)
                self.total += 1
        self.waiting = annotate("waiting", f"for {self.total}")
        threading.Thread(target=self.finish).start()
        for i in range(n):
            with annotate("turn", f"{i}"):
                self.total += 1
        time.sleep(0.5)

    def finish(self):
        time.sleep(0.2)
        with self.mu:
            self.waiting.end()
            self.waiting.end()

    def hold(self):
        with annotate("hold", "for ever"):
            time.sleep(1000)

    def hold_in_background(self):
        threading.Thread(target=self.hold, daemon=True).start()
        self.waiting = annotate("waiting", "for nobody")
"""


def intervals(cluster: Any) -> list[tuple[str, str, float, float, str]]:
    return [
        (each.topic, each.text, round(each.start / 1e9, 2), round(each.end / 1e9, 2), each.ended_by)
        for each in read(cluster.journal).intervals
    ]


def test_a_block_lasts_for_the_block_and_an_end_on_another_thread_ends(lab, world):
    cluster = lab(SERVER, world=world)
    cluster.server(0).call("work", 1)
    assert intervals(cluster) == [
        ("work", "of 0: [0, 1, 2]", 0.0, 0.3, "code"),
        ("part", "first", 0.1, 0.2, "code"),
        ("waiting", "for 1", 0.3, 0.5, "code"),
        ("turn", "0", 0.3, 0.3, "code"),
    ]
    notes = [(note.topic, note.text) for note in read(cluster.journal).notes if note.kind == "annotate"]
    assert notes == [("work", "begins 1")]
    ended = [event for event in cluster.journal if isinstance(event, AnnotationEnded)]
    assert len(ended) == 4


def test_a_crash_ends_what_the_server_was_in_and_what_waits_for_an_end_is_an_instant(lab, world):
    cluster = lab(SERVER, world=world)
    for server in (0, 1):
        cluster.server(server).call("hold_in_background")
    cluster.sleep(0.25)
    cluster.crash(0)
    cluster.sleep(0.25)
    cluster.server(1).call("finish")
    assert intervals(cluster) == [
        ("hold", "for ever", 0.0, 0.25, "crash"),
        ("waiting", "for nobody", 0.0, 0.7, "code"),
        ("hold", "for ever", 0.0, 0.7, "run"),
    ]
    notes = [note for note in read(cluster.journal).notes if note.kind == "annotate"]
    assert [(note.host, note.topic) for note in notes] == [("0", "waiting")]


def test_a_shutdown_ends_them_too_and_the_next_incarnation_begins_anew(lab, world):
    cluster = lab(SERVER, world=world)
    cluster.server(0).call("hold_in_background")
    cluster.sleep(0.25)
    cluster.shutdown(0)
    cluster.start(0)
    cluster.server(0).call("work", 0)
    found = intervals(cluster)
    assert found[0] == ("hold", "for ever", 0.0, 0.25, "shutdown")
    assert [each[0] for each in found[1:]] == ["work", "part", "waiting"]


class _Without(ast.NodeTransformer):
    """Leaves annotations out; what stands in a block of one stands in its place."""

    def visit_With(self, node: ast.With) -> Any:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node.body if "annotate(" in ast.unparse(node.items[0]) else node

    def visit_Assign(self, node: ast.Assign) -> Any:
        return None if "annotate(" in ast.unparse(node) else node

    def visit_Expr(self, node: ast.Expr) -> Any:
        text = ast.unparse(node)
        return None if text.startswith("annotate(") or text.endswith(".end()") else node


def without_annotations(snippet: str) -> str:
    return ast.unparse(ast.fix_missing_locations(_Without().visit(ast.parse(snippet))))


@pytest.mark.parametrize("seed", [1, 2])
def test_they_do_not_change_the_run(lab, world, seed):
    def run(snippet: str) -> tuple[str, Any]:
        cluster = lab(snippet, servers=3, world=world, seed=seed, reliable=False, latency=None)
        for server in (0, 1, 2):
            cluster.server(server).call("work", 3)
        cluster.crash(1)
        return cluster.journal.digest(), cluster.now

    assert "annotate" not in without_annotations(SERVER)
    assert ".end()" not in without_annotations(SERVER)
    assert run(SERVER) == run(without_annotations(SERVER))


def test_too_many_are_too_much_output(lab, world):
    cluster = lab(SERVER + '    def go(self):\n        while True:\n            with annotate("x", "y" * 1000): pass\n')
    with pytest.raises(CodeFault, match="server 0: it printed and annotated more than 1048576 bytes"):
        cluster.server(0).call("go")
    assert sum(isinstance(event, Annotated) for event in cluster.journal) == (1 << 20) // 1003


def test_what_is_no_text_is_written_as_print_does(lab, world):
    cluster = lab(SERVER + '    def go(self):\n        annotate("\\ud800", "x\\udfff")\n', world=world)
    cluster.server(0).call("go")
    [noted] = [event for event in cluster.journal if isinstance(event, Annotated)]
    assert (noted.tag, noted.text) == ("\\ud800", "x\\udfff")


# ------------------------------------------------------------------ what a journal of them means


def reading(*events: Any) -> Reading:
    return read([Booted(0, "0", 1, 0, 0), Booted(0, "1", 1, 0, 0), *events])


def test_overlapping_ones_of_one_and_of_several_servers_are_told_apart():
    run = reading(
        Annotated(1, "0", "a", "x", 1, True),
        Annotated(2, "1", "a", "x", 1, True),
        Annotated(3, "0", "b", "y", 2, False),
        AnnotationEnded(4, "0", 1),
        AnnotationEnded(5, "0", 2),
        AnnotationEnded(6, "1", 1),
    )
    assert run.intervals == [
        Interval("0", "a", "x", 1, 4, "code", 3, 6),
        Interval("1", "a", "x", 2, 6, "code", 4, 8),
        Interval("0", "b", "y", 3, 5, "code", 5, 7),
    ]
    assert [note.kind for note in run.notes] == ["boot", "boot"]


def test_without_an_end_it_is_an_instant():
    run = reading(Annotated(1, "0", "a", "x", 1), Annotated(1, "0", "old", "x"), Printed(2, "0", "main", "z"))
    assert run.intervals == []
    assert [(note.kind, note.topic) for note in run.notes[2:]] == [
        ("annotate", "a"),
        ("annotate", "old"),
        ("print", "main"),
    ]


def test_an_end_is_of_its_own_incarnation():
    run = reading(
        Annotated(1, "0", "a", "x", 1),
        Stopped(2, "0", 1, "crash"),
        AnnotationEnded(2, "0", 1),
        Booted(3, "0", 2, 0, 0),
        AnnotationEnded(4, "0", 1),
        Annotated(5, "0", "a", "y", 1),
        AnnotationEnded(6, "0", 1),
    )
    assert [(each.text, each.start, each.end) for each in run.intervals] == [("y", 5, 6)]


def test_a_long_run_keeps_the_latest():
    events = [
        each for n in range(100) for each in (Annotated(n, "0", "a", f"{n}", n + 1), AnnotationEnded(n, "0", n + 1))
    ]
    run = read([Booted(0, "0", 1, 0, 0), *events], last=20)
    assert run.intervals[-1].text == "99"
    assert 10 <= len(run.intervals) <= 20

"""Figures 7 and 8, played by real servers; figure_7.txt and figure_8.txt tell what happens."""

from __future__ import annotations

from pathlib import Path

from tests.harness.paper.lone_server import Bench, entries, terms
from tests.harness.paper.stage import Stage
from tests.harness.paper.story import compare_with_golden

HERE = Path(__file__).parent

# Figure 7: the logs of the leader, newly elected for term 8, and of six followers that have seen different histories.
FIGURE_7 = {
    "leader": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


def test_a_new_leader_repairs_the_logs_of_figure_7(bench: Bench) -> None:
    """Figure 7; §5.3: followers that lack entries, and that have extra ones, end with the leader's log.

    (c) and (d) keep their extra entries until the leader has one to put in their place: only a conflict cuts a log.
    """
    stage = Stage(bench, list(FIGURE_7), quiet=[name for name in FIGURE_7 if name != "leader"])
    stage.story.head("Figure 7: what followers' logs may be when the leader of term 8 comes to power")
    for name, log in FIGURE_7.items():
        stage.enter(name, log, term=7)
    stage.draw()

    stage.run_until(lambda: stage.leads("leader"))
    stage.run(0.09)
    stage.story.head("After one round of heartbeats, in which refusals are answered at once by messages further back:")
    stage.draw()
    for name in FIGURE_7:
        if name != "leader":
            stage.tell(name, f"had {stage.messages[name]} AppendEntries")
    assert {name: count for name, count in stage.messages.items() if name != "leader"} == {
        "a": 2, "b": 2, "c": 1, "d": 1, "e": 3, "f": 3,
    }  # fmt: skip

    stage.story.head("The leader's first own entry replaces what (c) and (d) have in its place:")
    stage.start("leader", "x")
    stage.run(0.3)
    stage.draw()
    for name, log in stage.logs().items():
        assert log == [*entries(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), *stage.logs()["leader"][10:]], name
    compare_with_golden(stage.story, HERE / "figure_7.txt")


SERVERS = ["S1", "S2", "S3", "S4", "S5"]


def figure_8_up_to_c(bench: Bench) -> Stage:
    """Scenes (a) to (c). Only S1 and S5 ever stand: the others' clocks are too slow."""
    stage = Stage(bench, SERVERS, quiet=["S2", "S3", "S4"])
    for name in SERVERS[:4]:
        stage.enter(name, [1], term=1, committed=1)
    stage.run(0.3)
    stage.enter("S5", [1], term=1, committed=1)

    stage.story.head("Figure 8: why a leader does not commit entries of older terms by counting copies")
    stage.story.head("(a) S1 leads term 2, and replicates the entry at index 2 to S2 only.")
    stage.run_until(lambda: stage.leads("S1"))
    stage.run(0.05)
    stage.connect("S1", "S2")
    stage.start("S1", "x")
    stage.run(0.05)
    stage.draw()

    stage.story.head(
        "(b) S1 crashes; S5 is elected for term 3 by S3, S4 and itself, and takes another entry at index 2."
    )
    stage.crash("S1")
    stage.connect("S2", "S3", "S4", "S5")
    stage.run_until(lambda: stage.leads("S5"))
    stage.run(0.05)
    stage.connect("S5")
    stage.start("S5", "y")
    stage.draw()

    stage.story.head(
        "(c) S5 crashes; S1 restarts, is elected for term 4, and goes on replicating index 2, now to S3 too."
    )
    stage.crash("S5")
    stage.restart("S1")
    stage.connect("S1", "S2", "S3", "S4")
    stage.run_until(lambda: stage.leads("S1"))
    stage.connect("S1", "S2", "S3")
    stage.run(0.3)
    return stage


def test_an_entry_of_an_older_term_on_a_majority_can_still_be_lost_as_in_figure_8(bench: Bench) -> None:
    """Figure 8; §5.4.2: so S1 must not commit the entry of term 2 by counting; with one of term 4 behind it, it may."""
    stage = figure_8_up_to_c(bench)
    on = [name for name, log in stage.logs().items() if terms(log)[1:2] == [2]]
    assert on == ["S1", "S2", "S3"]
    assert all(message.command_index < 2 for name in on for message in stage.servers[name].applied)
    stage.tell("S1", "knows index 2 on a majority, S1, S2 and S3, and does not commit it: its term is 2, not 4")
    stage.connect("S1")
    stage.start("S1", "z")
    stage.draw()

    stage.story.head("(d) S1 crashes; S5 restarts, is elected by S2, S3 and S4, and replaces the entry of term 2.")
    stage.crash("S1")
    stage.restart("S5")
    stage.connect("S2", "S3", "S4", "S5")
    stage.run_until(lambda: stage.leads("S5"))
    stage.start("S5", "w")
    stage.run(0.3)
    stage.draw()
    assert all(terms(stage.servers[name].log()) == [1, 3, 5] for name in SERVERS[1:])

    other = figure_8_up_to_c(bench)
    other.story = stage.story
    other.story.head(
        "(e) If instead S1 replicates an entry of its own term to a majority, index 2 is committed with it …"
    )
    other.start("S1", "z")
    other.run(0.3)
    other.draw()
    assert [message.command for message in other.servers["S1"].applied[1:]] == ["x", "z"]
    other.story.head("… and S5 cannot win: each majority has a server with an entry of term 4, which refuses its vote.")
    other.crash("S1")
    other.restart("S5")
    other.connect("S2", "S3", "S4", "S5")
    other.run(1.6)
    assert not other.leads("S5")
    other.draw()
    assert all(terms(other.servers[name].log()) == [1, 2, 4] for name in ("S1", "S2", "S3"))
    compare_with_golden(other.story, HERE / "figure_8.txt")

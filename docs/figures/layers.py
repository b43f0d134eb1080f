"""The layers of the project, and which way data flows."""

from drawing import Drawing

__all__ = ["draw"]


def draw() -> Drawing:
    """From the tests down to the code under test, and back up to the verdict."""
    drawing = Drawing(
        400,
        452,
        "A test calls the judge's cluster; that steps the world; the world steps hosts with the code under test; "
        "effects come back, and become a journal, from which the judge makes verdict, timeline and seed.",
    )
    drawing.box(16, 16, 176, 52, "tests/labs", "the graded tests", kind="plain")
    drawing.box(208, 16, 176, 52, "what you see", "verdict, seed, timeline", kind="plain")
    drawing.arrow((104, 68), (104, 112))
    drawing.text(110, 94, "start, crash, sleep", "s", dim=True)
    drawing.arrow((296, 112), (296, 68))
    drawing.text(302, 94, "report", "s", dim=True)

    work = ("clusters · invariants · checker", "shrinking · timelines · grading")
    drawing.box(16, 112, 368, 74, "tester: the judge", *work, kind="judge")
    drawing.arrow((104, 186), (104, 236))
    drawing.text(110, 208, "control calls,", "s", dim=True)
    drawing.text(110, 222, "faults", "s", dim=True)
    drawing.arrow((296, 236), (296, 186))
    drawing.text(302, 215, "journal", "s", dim=True)

    drawing.box(16, 236, 368, 74, "labrpc: the world", "virtual time · event queue", "network · disks · journal",
                kind="world")  # fmt: skip
    drawing.arrow((104, 310), (104, 356))
    drawing.text(110, 336, "inbox, limit", "s", dim=True)
    drawing.arrow((296, 356), (296, 310))
    drawing.text(302, 336, "timed effects", "s", dim=True)

    drawing.box(16, 356, 368, 80, kind="plain", dashed=True)
    drawing.text(200, 372, "hosts: one a server, one a clerk", "s", anchor="middle", dim=True)
    drawing.box(28, 382, 164, 42, "kvraft", "clerk, RSM, store", kind="code")
    drawing.box(208, 382, 164, 42, "raft", "elections, log", kind="code")
    drawing.arrow((192, 397), (208, 397))
    drawing.arrow((208, 411), (192, 411))
    return drawing

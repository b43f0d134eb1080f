"""Preemption: step points, and a stall that lets a second handler overtake the first."""

from drawing import Drawing

__all__ = ["draw"]


def draw() -> Drawing:
    """One host's threads, over virtual time."""
    drawing = Drawing(
        410,
        400,
        "Two handlers of one server add to a total without a lock. The first is stalled between its read and its "
        "write; the second runs whole in between, and one addition is lost.",
    )
    drawing.text(16, 26, "two lines without a lock", "b")
    for y, line in ((48, "total = self.total"), (66, "self.total = total + 1")):
        drawing.bar(18, y - 9, 5, 11, "world")
        drawing.text(32, y, line, "m")
    drawing.bar(18, 82, 5, 11, "world")
    drawing.text(32, 91, "step point: 100 ns of CPU, and the place for a stall", "s", dim=True)

    left, right = 100, 396
    drawing.text(16, 132, "host 2, virtual time", "b")
    for y, name, who in ((176, "thread 1", "adds 1"), (246, "thread 2", "adds 1")):
        drawing.text(16, y + 2, name)
        drawing.text(16, y + 16, who, "s", dim=True)
        drawing.line((left, y + 8), (right, y + 8))
    # The first handler: its read, a stall, its write.
    drawing.box(106, 164, 60, 40, "reads", "5", kind="code", first="s")
    drawing.box(170, 170, 136, 28, "stalled, 2.3 ms", kind="world", dashed=True, first="s")
    drawing.box(310, 164, 80, 40, "writes", "6", kind="bad", first="s")
    # The second one, whole, within the stall.
    drawing.box(186, 234, 104, 40, "reads 5", "writes 6", kind="code", first="s")
    drawing.arrow((140, 204), (140, 222), (196, 222), (196, 234), dashed=True)
    drawing.text(106, 300, "the host takes its next message", "s", dim=True)
    drawing.text(106, 314, "and runs its other threads meanwhile", "s", dim=True)
    drawing.arrow((left, 334), (right, 334))
    drawing.text(right, 350, "virtual time", "s", anchor="end", dim=True)
    drawing.text(16, 372, "When a stall comes, and how long it is, are numbers that follow", "s")
    drawing.text(16, 386, "from the seed: the same seed stalls at the same statement.", "s")
    return drawing

"""The path of a put through the replicated store."""

from drawing import Drawing

__all__ = ["draw"]


def draw() -> Drawing:
    """The leader's side, and a follower's."""
    drawing = Drawing(
        400,
        560,
        "A clerk's put goes to the leader's server, through RSM.submit into Raft's log, to the followers, and, once a "
        "majority has it, through apply_ch into every replica's store; the leader's submit then returns, "
        "and the clerk is told.",
    )
    left, right = 20, 226
    drawing.box(left, 14, 180, 40, "Clerk.put(key, value, v)", "asks until one answers", kind="plain", first="s")
    drawing.arrow((110, 54), (110, 82))
    drawing.text(116, 72, "1  KV.put", "s", dim=True)
    drawing.box(10, 82, 204, 462, kind="plain", dashed=True)
    drawing.text(18, 98, "the leader", "s", dim=True)
    drawing.box(216 + 6, 216, 168, 328, kind="plain", dashed=True)
    drawing.text(230, 232, "each follower", "s", dim=True)

    drawing.box(left, 106, 180, 40, "ReplicatedKVServer", "put(args)", kind="code", rest="m")
    drawing.arrow((70, 146), (70, 172))
    drawing.text(76, 162, "2", "s", dim=True)
    drawing.box(left, 172, 180, 40, "RSM.submit(args)", "waits for its index", kind="code", first="m")
    drawing.arrow((70, 212), (70, 240))
    drawing.text(76, 229, "3  start", "s", dim=True)
    drawing.box(left, 240, 180, 56, "Raft", "appends, saves,", "counts who has it", kind="code")
    drawing.arrow((200, 258), (right + 6, 258))
    drawing.text(203, 250, "4", "s", dim=True)
    drawing.arrow((right + 6, 282), (200, 282))
    drawing.text(203, 296, "5", "s", dim=True)
    drawing.box(right + 6, 240, 148, 56, "Raft", "checks, appends,", "saves, says yes", kind="code")

    for x in (left, right + 6):
        width = 180 if x == left else 148
        middle = x + width / 2
        drawing.arrow((middle, 296), (middle, 338))
        drawing.text(middle + 6, 320, "6  apply_ch", "s", dim=True)
        drawing.box(x, 338, width, 40, "RSM's reader", "in log order", kind="code")
        drawing.arrow((middle, 378), (middle, 412))
        drawing.text(middle + 6, 398, "7  do_op", "s", dim=True)
        drawing.box(x, 412, width, 40, "store", "key → value, version", kind="data")
    drawing.text(left, 476, "8  the result goes back to the", "s")
    drawing.text(left, 490, "submit that waits at this", "s")
    drawing.text(left, 504, "index, and to the clerk; if", "s")
    drawing.text(left, 518, "the index holds another's", "s")
    drawing.text(left, 532, "entry: WRONG_LEADER.", "s")
    drawing.text(right + 6, 476, "nobody waits here:", "s")
    drawing.text(right + 6, 490, "the state is kept equal", "s")
    return drawing

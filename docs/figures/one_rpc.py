"""What happens to one RPC in the simulator."""

from drawing import Drawing

__all__ = ["draw"]

_CALLER, _ROUTER, _CALLED = 70, 205, 340


def draw() -> Drawing:
    """Three lanes; time runs downwards."""
    drawing = Drawing(
        410,
        520,
        "Host 0 calls host 2: the request becomes an effect with an instant, the coordinator asks the network for its "
        "fate and queues the delivery; host 2 is stepped with it, its reply travels the same way back, and the call "
        "returns.",
    )
    for x, first, second in ((_CALLER, "host 0", "the caller"), (_ROUTER, "coordinator", "network, queue"),
                             (_CALLED, "host 2", "the handler")):  # fmt: skip
        kind = "world" if x == _ROUTER else "code"
        drawing.box(x - 55, 14, 110, 40, first, second, kind=kind)  # type: ignore[arg-type]

    for x, top, bottom in ((_CALLER, 54, 68), (_CALLER, 106, 420), (_ROUTER, 54, 80), (_ROUTER, 208, 218),
                           (_ROUTER, 256, 374), (_CALLED, 54, 224)):  # fmt: skip
        drawing.line((x, top), (x, bottom), dashed=True)

    drawing.box(10, 68, 120, 38, "peers[2].call(…)", "one thread waits", kind="plain", first="m")
    drawing.arrow((130, 100), (_ROUTER - 8, 124))
    drawing.text(138, 92, "effect, at t", "s", dim=True)
    drawing.box(_ROUTER - 62, 124, 124, 84, "Network.send", "drop? net/0->2/drop", "how late? …/jitter",
                "number n, seed x", kind="world", first="m", rest="s")  # fmt: skip
    drawing.box(_ROUTER - 62, 218, 124, 38, "event queue", "(due, sequence)", kind="world")
    drawing.arrow((_ROUTER + 62, 250), (_CALLED - 58, 274))
    drawing.text(_ROUTER + 66, 238, "due: t + delay", "s", dim=True)

    handler = ("step(now, limit,", "[request])", "a handler thread,", "may be stalled")
    drawing.box(_CALLED - 58, 274, 116, 84, *handler, kind="code", first="m")
    drawing.arrow((_CALLED - 58, 350), (_ROUTER + 62, 374))
    drawing.text(276, 384, "reply, at t′", "s", dim=True)
    drawing.box(_ROUTER - 62, 374, 124, 54, "Network.send", "drop? how late?", "net/2->0/…", kind="world", first="m")
    drawing.arrow((_ROUTER - 62, 420), (130, 444))
    drawing.text(36, 434, "due: t′ + delay", "s", dim=True)
    drawing.box(10, 444, 120, 52, "call returns", "the reply, or None:", "lost, or too late", kind="plain", first="m")
    drawing.text(_ROUTER + 6, 456, "each send, delivery and", "s", dim=True)
    drawing.text(_ROUTER + 6, 470, "drop is in the journal,", "s", dim=True)
    drawing.text(_ROUTER + 6, 484, "a drop with its reason", "s", dim=True)
    return drawing

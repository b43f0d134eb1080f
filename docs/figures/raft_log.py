"""Raft's log: what is snapshotted, applied, committed, and only there."""

from drawing import Drawing, Kind

__all__ = ["draw"]

_TERMS = {5: 2, 6: 2, 7: 3, 8: 3, 9: 3, 10: 5, 11: 5}
_LEFT, _CELL = 104, 40


def _x(index: int) -> int:
    return _LEFT + (index - 5) * _CELL


def draw() -> Drawing:
    """One leader's log, and a follower's."""
    drawing = Drawing(
        400,
        370,
        "A leader's log: entries 1 to 4 are in a snapshot, 5 to 7 applied, up to 9 committed, 10 and 11 only in the "
        "log. A follower has entries up to 8; next_index is 9, match_index 8.",
    )
    drawing.text(16, 26, "leader, term 5", "b")
    drawing.text(16, 58, "index", "s", dim=True)
    drawing.text(16, 84, "term", "s", dim=True)
    drawing.box(50, 64, 50, 34, "1 … 4", kind="data", first="s")
    for index, term in _TERMS.items():
        kind: Kind = "code" if index <= 7 else "judge" if index <= 9 else "plain"
        drawing.text(_x(index) + _CELL / 2 - 2, 58, str(index), "s", anchor="middle", dim=True)
        drawing.box(_x(index), 64, _CELL - 4, 34, str(term), kind=kind)
    for index, name, down in (
        (4, "last_included_index = 4", 3),
        (7, "last_applied = 7", 2),
        (9, "commit_index = 9", 1),
    ):
        x = 75 if index == 4 else _x(index) + _CELL / 2 - 2
        y = 102 + 20 * down
        drawing.line((x, 98), (x, y - 4))
        drawing.text(x + 4, y, name, "m")
    drawing.text(384, 38, "last_index = 11", "m", anchor="end")
    drawing.line((16, 190), (384, 190))
    drawing.text(16, 220, "follower 2", "b")
    drawing.box(50, 240, 50, 34, "1 … 4", kind="data", first="s")
    for index in range(5, 9):
        drawing.box(_x(index), 240, _CELL - 4, 34, str(_TERMS[index]), kind="code" if index <= 6 else "judge")
    x = _x(8) + _CELL / 2 - 2
    drawing.arrow((x, 226), (x, 240))
    drawing.text(x, 220, "match_index[2] = 8", "m", anchor="middle")
    drawing.box(_x(9), 240, 3 * _CELL - 4, 34, "9, 10, 11 next", kind="plain", dashed=True, first="s")
    drawing.arrow((_x(9) + 18, 292), (_x(9) + 18, 274))
    drawing.text(_x(9) + 18, 305, "next_index[2] = 9", "m", anchor="middle")
    drawing.text(16, 330, "violet: in the snapshot · green: given to the service", "s", dim=True)
    drawing.text(16, 344, "blue: on a majority, so it stays · grey: may yet be cut off", "s", dim=True)
    drawing.text(16, 358, "snapshot ≤ applied ≤ committed ≤ last", "s", dim=True)
    return drawing

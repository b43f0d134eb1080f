"""Recursion ends at the same call in every world, however deep the stack below a host is."""

from __future__ import annotations

DEPTH = """
class Server:
    def __init__(self, ends, me, persister): pass
    def depth(self):
        return self.dive(0)
    def dive(self, n):
        try:
            return self.dive(n + 1)
        except RecursionError:
            return n
"""


def test_the_same_recursion_ends_at_the_same_call_in_both_worlds(lab):
    def deep(levels: int) -> int:
        if levels:
            return deep(levels - 1)
        return lab(DEPTH, servers=1).server(0).call("depth")

    in_child = lab(DEPTH, servers=1, world="processes").server(0).call("depth")
    assert 900 < in_child <= 1000
    assert deep(0) == in_child
    assert deep(200) == in_child

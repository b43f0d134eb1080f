"""Skeletons: what stays of a module, what goes, and that nothing goes, or stays, unmentioned."""

from __future__ import annotations

import textwrap

import pytest

from labrpc.errors import UsageError
from tester.release.skeleton import Cut, ModuleRules, exported_names, skeleton, split_lines

SOURCE = '''\
"""A module that tells how it is done."""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping, Sequence

from raft.log import Log
from raft.messages import Ask, Answer

__all__ = [
    "LIMIT",
    "Server",
    "Role",
]

LIMIT = 10
"""How many."""

# The trick is in here.
PATIENCE = 0.5


class Role(enum.Enum):
    """What it is."""

    IDLE = 1


class Server:
    """It serves.

    Slowly.
    """

    service_name = "S"  # as clients call it
    methods: Mapping[str, str] = {"a": "b"}

    def __init__(self, ends: Sequence[int]) -> None:
        self.ends = ends
        self.mu = threading.Lock()  # guards the trick
        self.trick = Log()

    # ---- the interface

    @staticmethod
    def ask(
        args: Ask,  # the question
    ) -> Answer:
        """Answers."""
        # A trick that nobody finds.
        return Answer(_trick(args))

    def size(self) -> int:
        """In bytes."""
        return 8

    def _hidden(self) -> None:
        """How the trick works."""


def _trick(args: Ask) -> int:
    return 42
'''

RULES = ModuleRules(
    file="raft/server.py",
    docstring="A module.",
    given=frozenset({"LIMIT", "Server.service_name", "Server.size"}),
    left_out=frozenset({"PATIENCE", "Role", "Server.methods"}),
    cut={
        "Server.__init__": Cut(keep=("self.ends = ends",), hint="Your fields.\nYour threads."),
        "Server.ask": Cut(part="2A", todo="answer"),
    },
    docstrings={"Server": "It serves."},
)

EXPORTED = {"raft.messages": frozenset({"Ask", "Answer"})}

EXPECTED = '''\
"""A module."""

from __future__ import annotations

from collections.abc import Sequence

from raft.messages import Ask, Answer

__all__ = [
    "LIMIT",
    "Server",
]

LIMIT = 10
"""How many."""


class Server:
    """It serves."""

    service_name = "S"  # as clients call it

    def __init__(self, ends: Sequence[int]) -> None:
        self.ends = ends
        # Your fields.
        # Your threads.

    @staticmethod
    def ask(
        args: Ask,  # the question
    ) -> Answer:
        """Answers."""
        raise NotImplementedError("2A: answer")

    def size(self) -> int:
        """In bytes."""
        return 8
'''


def changed(**fields: object) -> ModuleRules:
    return ModuleRules(**{**vars(RULES), **fields})  # type: ignore[arg-type]


def test_interface_and_what_is_given_stay_and_all_else_goes():
    assert skeleton(SOURCE, RULES, EXPORTED) == EXPECTED


def test_names_are_offered_to_other_modules_only_if_they_stay():
    assert exported_names(SOURCE, RULES, {}) == {"LIMIT", "Server"}
    assert exported_names("from raft.server import LIMIT, Role\n", ModuleRules("raft/__init__.py"), {
        "raft.server": frozenset({"LIMIT", "Server"})
    }) == {"LIMIT"}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"left_out": RULES.left_out - {"PATIENCE"}}, "PATIENCE is not mentioned"),
        ({"given": RULES.given - {"Server.size"}}, "Server.size is not mentioned"),
        ({"cut": {"Server.ask": Cut("2A", "answer")}}, "Server.__init__ is not mentioned"),
        ({"given": RULES.given | {"Server.gone"}}, "Server.gone is not there any more"),
        ({"docstrings": {"Client": "x"}}, "Client is not there any more"),
        ({"left_out": RULES.left_out | {"LIMIT"}}, "LIMIT is named twice"),
        ({"cut": {**RULES.cut, "LIMIT": Cut("2A", "x")}, "given": RULES.given - {"LIMIT"}}, "LIMIT is no function"),
        ({"cut": {**RULES.cut, "Server.ask": Cut("9Z", "answer")}}, "part '9Z' is not one of 2A"),
        ({"cut": {**RULES.cut, "Server.ask": Cut("2A", 'say "x"')}}, "no double quote"),
        ({"cut": {**RULES.cut, "Server.ask": Cut()}}, "nothing is left of Server.ask"),
        ({"cut": {**RULES.cut, "Server.__init__": Cut(keep=("self.end = ends",))}}, "0 times, must once"),
    ],
    ids=[
        "a forgotten constant", "a forgotten method", "a forgotten constructor", "a name that is gone",
        "a class that is gone", "twice", "a constant cut", "no such part", "a quote", "nothing left",
        "a statement that is gone",
    ],
)  # fmt: skip
def test_rules_and_reference_that_do_not_fit_are_an_error(fields, complaint):
    with pytest.raises(UsageError, match=complaint):
        skeleton(SOURCE, changed(**fields), EXPORTED)


@pytest.mark.parametrize("statement", ["if LIMIT:\n    pass", "for _ in ():\n    pass", "print()"])
def test_a_module_that_does_more_than_define_is_refused(statement):
    with pytest.raises(UsageError, match="neither a definition nor an import"):
        skeleton(f"{SOURCE}\n{statement}\n", RULES, EXPORTED)


def test_lines_of_the_solution_are_those_that_no_skeleton_has():
    source = SOURCE.replace("return 42", "return 6 * 7 + 35 - 35  # of all numbers")
    seen, hidden = split_lines(source, RULES)
    assert "self.mu = threading.Lock()  # guards the trick" in hidden
    assert "return 6 * 7 + 35 - 35  # of all numbers" in hidden
    assert "# A trick that nobody finds." in hidden
    assert "A module that tells how it is done." in hidden
    assert 'service_name = "S"  # as clients call it' in seen
    assert "def __init__(self, ends: Sequence[int]) -> None:" in seen
    made = skeleton(source, RULES, EXPORTED)
    assert [line for line in hidden if line in made] == []
    _, all_hidden = split_lines(source, None)
    assert hidden < all_hidden
    assert 'service_name = "S"  # as clients call it' in all_hidden


def test_long_sentences_are_wrapped_and_stay_whole():
    todo = "say " + "what is to be done, " * 9 + "and stop"
    made = skeleton(SOURCE, changed(cut={**RULES.cut, "Server.ask": Cut("2A", todo)}), EXPORTED)
    assert max(map(len, made.splitlines())) <= 120
    scope: dict[str, object] = {}
    exec(textwrap.dedent("def ask():\n" + made.partition('"""Answers."""\n')[2].partition("\n\n")[0]), scope)
    with pytest.raises(NotImplementedError) as caught:
        scope["ask"]()  # type: ignore[operator]
    assert str(caught.value) == f"2A: {todo}"

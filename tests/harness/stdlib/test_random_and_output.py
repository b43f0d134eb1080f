"""Random choices are a function of the seed, and what is printed becomes lines of the journal."""

from __future__ import annotations

import random as real_random

from tests.harness.stdlib.conftest import Run

DRAWS = """
    import os, random, secrets, statistics, uuid
    print(random.random(), random.randint(0, 10**9), random.sample(range(100), 3), random.Random().random())
    print(random.SystemRandom().getrandbits(70), os.urandom(8), uuid.uuid4(), uuid.uuid1(), secrets.token_hex())
    print(secrets.choice("abc"), secrets.randbelow(10**9), statistics.NormalDist().samples(1))
    """


def test_a_seed_fixes_every_draw_and_hosts_draw_differently(run: Run) -> None:
    first, again, other = (run(DRAWS, seed=seed).lines for seed in (1, 1, 2))
    assert first == again
    assert not set(first[:2]) & set(other[:2])


def test_random_has_the_real_modules_api_and_generator(run: Run) -> None:
    outcome = run(
        """
        import random
        random.seed(42)
        state = random.getstate()
        first = random.random()
        random.setstate(state)
        print(first == random.random(), first, random.Random("x").random(), random.gauss(0, 1) is not None)
        print(all(hasattr(random, name) for name in random.__all__), sorted(random.__all__))
        """
    )
    expected = f"True {real_random.Random(42).random()} {real_random.Random('x').random()} True"
    assert outcome.lines == [expected, f"True {sorted(real_random.__all__)}"]


def test_uuids_are_well_formed(run: Run) -> None:
    outcome = run(
        """
        import uuid
        first, second = uuid.uuid1(), uuid.uuid1()
        print(uuid.uuid4().version, first.version, first.time < second.time, first.node == uuid.getnode())
        print(uuid.uuid5(uuid.NAMESPACE_DNS, "x") == uuid.UUID(str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))))
        """
    )
    assert outcome.lines == ["4 1 True True", "True"]


def test_what_is_printed_becomes_lines_of_output_with_their_thread(run: Run) -> None:
    outcome = run(
        """
        import pprint, sys, threading, traceback
        print("a", 1, None, sep="-")
        print("no newline", end="")
        print("; and", "now", flush=True)
        print("error", file=sys.stderr)
        sys.stdout.write("two\\nlines\\n")
        threading.Thread(target=print, args=("from a thread",), name="printer").start()
        pprint.pprint({"b": 1})
        try:
            1 / 0
        except ZeroDivisionError:
            traceback.print_exc()
        """
    )
    assert outcome.lines[:6] == ["a-1-None", "no newline; and now", "error", "two", "lines", "{'b': 1}"]
    assert outcome.lines[6] == "Traceback (most recent call last):"
    assert outcome.lines[-2:] == ["ZeroDivisionError: division by zero", "from a thread"]
    assert [output.thread for output in outcome.outputs[-2:]] == ["MainThread", "printer"]


def test_a_printed_line_is_whole_even_if_its_values_are_preempted(run: Run) -> None:
    outcome = run(
        """
        import threading
        class Entry:
            def __init__(self, term):
                self.term = term
            def __str__(self):
                return f"entry of term {self.term}"
        def work(term):
            for _ in range(5):
                print(Entry(term), Entry(term))
        for term in range(4):
            threading.Thread(target=work, args=(term,)).start()
        """,
        mean_gap=2,
    )
    assert sorted(outcome.lines) == sorted(5 * [f"entry of term {n} entry of term {n}" for n in range(4)])


def test_print_goes_where_server_code_points_stdout(run: Run) -> None:
    outcome = run(
        """
        import io, sys
        real, sys.stdout = sys.stdout, io.StringIO()
        print("kept")
        text, sys.stdout = sys.stdout.getvalue(), real
        print(repr(text))
        """
    )
    assert outcome.lines == ["'kept\\n'"]


def test_logging_writes_to_the_journal_with_virtual_time(run: Run) -> None:
    outcome = run(
        """
        import logging, threading, time
        logging.warning("before it is configured: %d", 1)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(threadName)s %(name)s %(message)s", force=True)
        time.sleep(61.5)
        logging.info("hello")
        logging.getLogger("raft.election").info("term %d", 3)
        logging.debug("not shown")
        try:
            {}["x"]
        except KeyError:
            logging.exception("it failed")
        """
    )
    assert outcome.lines[:4] == [
        "WARNING:root:before it is configured: 1",
        "2023-11-14 22:14:21,500 MainThread root hello",
        "2023-11-14 22:14:21,500 MainThread raft.election term 3",
        "2023-11-14 22:14:21,500 MainThread root it failed",
    ]
    assert outcome.lines[-1] == "KeyError: 'x'"

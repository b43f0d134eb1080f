"""Messages over a stream come out as they went in, however the stream is cut."""

from __future__ import annotations

import random
import socket
import threading

import pytest

from labrpc.framing import Splitter, frame, receive, send

MESSAGES = [b"", b"a", b"bc" * 1000, b"", b"\x00" * 5, b"d" * 70_000]


@pytest.mark.parametrize("longest", [1, 3, 4, 5, 1000, 1 << 20])
def test_a_stream_in_pieces_of_any_length_is_cut_into_its_messages(longest):
    stream = b"".join(map(frame, MESSAGES))
    choose = random.Random(longest)
    splitter, found = Splitter(), []
    while stream:
        size = choose.randint(1, longest)
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == MESSAGES
    assert splitter.left == 0


def test_a_message_that_has_only_begun_is_left():
    splitter = Splitter()
    assert splitter.feed(frame(b"whole") + frame(b"half")[:6]) == [b"whole"]
    assert splitter.left == 6
    assert splitter.feed(b"lf") == [b"half"]


def test_a_message_that_claims_too_much_is_refused_before_it_has_come():
    assert Splitter(most=4).feed(frame(b"four")) == [b"four"]
    with pytest.raises(ValueError, match="a frame of 5 bytes, more than 4"):
        Splitter(most=4).feed(frame(b"fives")[:4])


def test_question_and_answer_over_a_socket():
    ours, theirs = socket.socketpair()

    def answer() -> None:
        while (message := receive(theirs)) is not None:
            send(theirs, message)
        theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    for message in MESSAGES:
        send(ours, message)
        assert receive(ours) == message
    ours.shutdown(socket.SHUT_WR)
    assert receive(ours) is None
    thread.join()
    ours.close()

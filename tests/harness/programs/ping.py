"""What is said in an echo. The harness's tests put this text at the top of server code; benchmarks serve it."""

from dataclasses import dataclass

from labrpc import message


@message
@dataclass
class Ping:
    number: int


@message
@dataclass
class Pong:
    number: int

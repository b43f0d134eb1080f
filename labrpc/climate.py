"""How a run's network is on the whole: figures that are settled once, before its first message.

    Climate (who is slow, how much is lost) --> Network --> each message's fate, drawn

The default is the standard: every link alike, and an unreliable network with the Go labs' figures, so that their timing
advice to students carries over.
"""

from __future__ import annotations

from dataclasses import dataclass

from labrpc.errors import UsageError

__all__ = ["SLOW", "Climate"]

MS = 1_000_000

SLOW = ("", "host", "link", "way")
"""Who is slow: nobody; one of servers 0 to 2, to and from everybody; one way between two of these servers; between
servers, every way to one with a higher number."""


@dataclass(frozen=True)
class Climate:
    """Figures of a network.

    Attributes:
        spread_ns: every message takes up to so much longer, evenly drawn, beside its quiet latency.
        slow, slow_ns: who is slow, see `SLOW`, and by how much at most, evenly drawn for each message.
        late_per_thousand, late_ns: so many of 1000 messages are late, by up to so much.
        lost_per_thousand: of 1000 requests, and of 1000 replies, that an unreliable network loses.
        delay_ns: an unreliable network delays each message by less than this.
        duplicated_per_thousand: of 1000 messages between servers that arrive twice. A clerk's never do: a put that is
            executed twice may be refused in the answer that arrives first.
    """

    spread_ns: int = 0
    slow: str = ""
    slow_ns: int = 0
    late_per_thousand: int = 0
    late_ns: int = 0
    lost_per_thousand: int = 100
    delay_ns: int = 26 * MS
    duplicated_per_thousand: int = 0

    def __post_init__(self) -> None:
        if self.slow not in SLOW:
            raise UsageError(f"slow {self.slow!r} is not one of {', '.join(map(repr, SLOW))}")
        for name in ("late_per_thousand", "lost_per_thousand", "duplicated_per_thousand"):
            if not 0 <= getattr(self, name) <= 1000:
                raise UsageError(f"{name} {getattr(self, name)} is not in 0..1000")
        for name in ("spread_ns", "slow_ns", "late_ns"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} {getattr(self, name)} must be 0 or more")
        if self.delay_ns < 1:
            raise UsageError(f"delay_ns {self.delay_ns} must be 1 or more")

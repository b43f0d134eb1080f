"""`datetime` as server code on a host sees it: `now` is virtual time, and local time is UTC.

`date` and `datetime` are subclasses of the real classes, and every real date counts as an instance of them.
"""

from __future__ import annotations

import datetime as real
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from labrpc.virtual.stdlib.time import EPOCH_NS
from labrpc.virtual.stdlib.waiting import current_host

if TYPE_CHECKING:
    from typing import Self

__all__ = ["date", "datetime", "namespace"]

_EPOCH = real.datetime(1970, 1, 1)


def namespace() -> dict[str, Any]:
    """The contents of a host's `datetime`."""
    public = {name: value for name, value in vars(real).items() if not name.startswith("_")}
    return {**public, "__all__": list(real.__all__), "date": date, "datetime": datetime}


class _StandsFor(type):
    """The type of a class that stands for a real one: instances and subclasses of that count as its own."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__dict__.get("_stands_for", ())) or super().__instancecheck__(instance)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.__dict__.get("_stands_for", ())) or super().__subclasscheck__(other)


class date(real.date, metaclass=_StandsFor):
    """See the standard library's `datetime.date`."""

    __module__ = "datetime"
    _stands_for = real.date

    @classmethod
    def today(cls) -> Self:
        return cls.fromordinal(_now().toordinal())

    @classmethod
    def fromtimestamp(cls, timestamp: float, /) -> Self:
        return cls.fromordinal(real.datetime.fromtimestamp(timestamp, real.UTC).toordinal())

    def strftime(self, format: str) -> str:
        return super().strftime(format)  # called from here, it imports the real `time`

    def __repr__(self) -> str:
        return f"datetime.{super().__repr__()}"


class datetime(real.datetime, metaclass=_StandsFor):
    """See the standard library's `datetime.datetime`."""

    __module__ = "datetime"
    _stands_for = real.datetime

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        now = _now()
        return cls._of(now) if tz is None else cls._of(now.replace(tzinfo=real.UTC).astimezone(tz))

    @classmethod
    def utcnow(cls) -> Self:
        return cls._of(_now())

    @classmethod
    def today(cls) -> Self:
        return cls._of(_now())

    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: tzinfo | None = None) -> Self:
        moment = real.datetime.fromtimestamp(timestamp, real.UTC if tz is None else tz)
        return cls._of(moment.replace(tzinfo=None) if tz is None else moment)

    @classmethod
    def utcfromtimestamp(cls, timestamp: float, /) -> Self:
        return cls.fromtimestamp(timestamp)

    @classmethod
    def strptime(cls, date_string: str, format: str, /) -> Self:
        return super().strptime(date_string, format)

    @classmethod
    def _of(cls, moment: real.datetime) -> Self:
        return cls.combine(moment.date(), moment.timetz())

    def timestamp(self) -> float:
        return real.datetime.timestamp(self if self.tzinfo is not None else self.replace(tzinfo=real.UTC))

    def astimezone(self, tz: tzinfo | None = None) -> Self:
        aware = self if self.tzinfo is not None else self.replace(tzinfo=real.UTC)
        return real.datetime.astimezone(aware, real.UTC if tz is None else tz)

    def date(self) -> real.date:
        return date(self.year, self.month, self.day)

    def strftime(self, format: str) -> str:
        return super().strftime(format)

    def __repr__(self) -> str:
        return f"datetime.{super().__repr__()}"


def _now() -> real.datetime:
    return _EPOCH + timedelta(microseconds=(EPOCH_NS + current_host().monotonic_ns()) // 1000)


date.min, date.max = (date(limit.year, limit.month, limit.day) for limit in (real.date.min, real.date.max))
datetime.min, datetime.max = (datetime._of(limit) for limit in (real.datetime.min, real.datetime.max))

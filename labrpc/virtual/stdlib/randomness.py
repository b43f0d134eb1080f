"""Where a host's randomness comes from: stream `random` of its own, so that a seed fixes every draw.

`random`, `uuid`, `secrets` and `os.urandom` all draw here, each as server code on a host sees it.
"""

from __future__ import annotations

import base64
import hmac
import random as real_random
import uuid as real_uuid
from typing import TYPE_CHECKING, Any

from labrpc.virtual.stdlib.time import EPOCH_NS
from labrpc.virtual.stdlib.waiting import current_host

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = [
    "Random",
    "SystemRandom",
    "random_bits",
    "random_bytes",
    "random_namespace",
    "secrets_namespace",
    "uuid_namespace",
]

_DEFAULT_TOKEN_BYTES = 32
_SEED_BITS = 256

# 100 ns ticks from the Gregorian reform to the Unix epoch (RFC 9562, section 5.1).
_GREGORIAN_TICKS = 0x01B2_1DD2_1381_4000


def random_bits(host: Host, count: int) -> int:
    """The next `count` random bits of `host`, as a number. Whole words are drawn: what is left of one is lost."""
    stream = host.stdlib.get("random")
    if stream is None:
        stream = host.stdlib["random"] = host.streams.stream("random")
    value = 0
    for _ in range(-(-count // 64)):
        value = value << 64 | stream.draw(1 << 64)
    return value >> (-count % 64)


def random_bytes(host: Host, count: int) -> bytes:
    """The next `count` random bytes of `host`."""
    return random_bits(host, 8 * count).to_bytes(count, "big")


# ------------------------------------------------------------------ random


class Random(real_random.Random):
    """A generator that, without a seed, takes one from the host."""

    __module__ = "random"

    def seed(self, a: Any = None, version: int = 2) -> None:
        super().seed(random_bits(current_host(), _SEED_BITS) if a is None else a, version)


class SystemRandom(real_random.Random):
    """A generator whose every number comes from the host, as `os.urandom`'s do."""

    __module__ = "random"

    def random(self) -> float:
        return random_bits(current_host(), 53) * 2.0**-53

    def getrandbits(self, k: int, /) -> int:
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        return random_bits(current_host(), k)

    def randbytes(self, n: int) -> bytes:
        return random_bytes(current_host(), n)

    def seed(self, *args: Any, **kwargs: Any) -> None:
        """Has no effect."""

    def _no_state(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("System entropy source does not have state.")

    getstate = setstate = _no_state


def random_namespace(host: Host) -> dict[str, Any]:
    """The contents of a host's `random`: its functions share one generator, seeded by the host."""
    shared = Random(random_bits(host, _SEED_BITS))
    contents: dict[str, Any] = {"__all__": list(real_random.__all__), "Random": Random, "SystemRandom": SystemRandom}
    for name in real_random.__all__:
        if name not in contents:
            contents[name] = getattr(shared, name)
    return contents


# ------------------------------------------------------------------ uuid


def uuid_namespace(host: Host) -> dict[str, Any]:
    """The contents of a host's `uuid`."""
    node = random_bits(host, 48) | 1 << 40  # the multicast bit: no network card has it
    last_ticks = 0

    def getnode() -> int:
        return node

    def uuid1(node: int | None = None, clock_seq: int | None = None) -> real_uuid.UUID:
        nonlocal last_ticks
        last_ticks = max((EPOCH_NS + host.monotonic_ns()) // 100 + _GREGORIAN_TICKS, last_ticks + 1)
        sequence = random_bits(host, 14) if clock_seq is None else clock_seq
        time_low, time_mid, time_high = last_ticks & 0xFFFFFFFF, last_ticks >> 32 & 0xFFFF, last_ticks >> 48 & 0x0FFF
        source = getnode() if node is None else node
        fields = (time_low, time_mid, time_high, sequence >> 8 & 0x3F, sequence & 0xFF, source)
        return real_uuid.UUID(fields=fields, version=1)

    def uuid4() -> real_uuid.UUID:
        return real_uuid.UUID(int=random_bits(host, 128), version=4)

    kept = ("NAMESPACE_DNS", "NAMESPACE_OID", "NAMESPACE_URL", "NAMESPACE_X500", "NIL", "MAX", "SafeUUID", "UUID",
            "RESERVED_FUTURE", "RESERVED_MICROSOFT", "RESERVED_NCS", "RFC_4122", "uuid3", "uuid5", "uuid8")  # fmt: skip
    contents = {name: getattr(real_uuid, name) for name in kept if hasattr(real_uuid, name)}
    return {**contents, "getnode": getnode, "uuid1": uuid1, "uuid4": uuid4}


# ------------------------------------------------------------------ secrets


def token_bytes(nbytes: int | None = None) -> bytes:
    return random_bytes(current_host(), _DEFAULT_TOKEN_BYTES if nbytes is None else nbytes)


def token_hex(nbytes: int | None = None) -> str:
    return token_bytes(nbytes).hex()


def token_urlsafe(nbytes: int | None = None) -> str:
    return base64.urlsafe_b64encode(token_bytes(nbytes)).rstrip(b"=").decode("ascii")


def randbelow(exclusive_upper_bound: int) -> int:
    if exclusive_upper_bound <= 0:
        raise ValueError("Upper bound must be positive.")
    return SystemRandom().randrange(exclusive_upper_bound)


def secrets_namespace() -> dict[str, Any]:
    """The contents of a host's `secrets`."""
    system = SystemRandom()
    return {
        "DEFAULT_ENTROPY": _DEFAULT_TOKEN_BYTES,
        "SystemRandom": SystemRandom,
        "choice": system.choice,
        "compare_digest": hmac.compare_digest,
        "randbelow": randbelow,
        "randbits": system.getrandbits,
        "token_bytes": token_bytes,
        "token_hex": token_hex,
        "token_urlsafe": token_urlsafe,
    }

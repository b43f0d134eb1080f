"""The world that servers live in: messages, a network that misbehaves on purpose, disks, and time.

    server code                      the world
    peers[i].call(...)  --bytes-->   Network decides: deliver, delay, drop   --bytes-->  @rpc handler of server i
    persister.save(...) --bytes-->   a disk that a crash may cut short
    time.sleep(...)     -------->    virtual time: it costs nothing

Server code imports these names and nothing else from here:
"""

from labrpc.api import Annotation, ClientEnd, annotate, rpc
from labrpc.codec import CodecError, decode, encode, message
from labrpc.disk_persister import DiskPersister
from labrpc.errors import HarnessError, InvariantViolation, UsageError
from labrpc.persister import MemoryPersister, Persister
from labrpc.wal import DiskCorruption

__all__ = [
    "Annotation",
    "ClientEnd",
    "CodecError",
    "DiskCorruption",
    "DiskPersister",
    "HarnessError",
    "InvariantViolation",
    "MemoryPersister",
    "Persister",
    "UsageError",
    "annotate",
    "decode",
    "encode",
    "message",
    "rpc",
]

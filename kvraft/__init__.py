"""A fault-tolerant key/value store on Raft.

    Clerk --KV.get, KV.put--> ReplicatedKVServer --submit--> RSM --start--> Raft --apply_ch--> RSM --do_op--> Store

    rpc.py                what clerks and servers say to each other
    store.py              keys with versions: pure
    server.py             part 3A: one server
    clerk.py, lock.py     part 3A: the client, and a lock made of it
    rsm.py                part 3B: a state machine replicated by Raft
    replicated_server.py  parts 4A and 4B: the store as that state machine

Read them in this order.
"""

from kvraft.clerk import Clerk
from kvraft.lock import Lock
from kvraft.replicated_server import ReplicatedKVServer
from kvraft.rpc import Err, GetArgs, GetReply, PutArgs, PutReply
from kvraft.rsm import RSM, StateMachine
from kvraft.server import KVServer
from kvraft.store import Store

__all__ = [
    "RSM",
    "Clerk",
    "Err",
    "GetArgs",
    "GetReply",
    "KVServer",
    "Lock",
    "PutArgs",
    "PutReply",
    "ReplicatedKVServer",
    "StateMachine",
    "Store",
]

"""The store: versions decide, replies and snapshots are a function of the operations alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvraft import Err, GetArgs, GetReply, PutArgs, PutReply, Store
from labrpc import UsageError

KEYS = st.sampled_from(["a", "b", ""])
OPERATIONS = st.lists(
    st.one_of(st.builds(GetArgs, KEYS), st.builds(PutArgs, KEYS, st.text(max_size=2), st.integers(0, 3))), max_size=30
)


@given(OPERATIONS)
def test_a_put_takes_effect_at_its_version_and_only_there(operations):
    store, model = Store(), {}
    for op in operations:
        value, version = model.get(op.key, ("", 0))
        reply = store.do_op(op)
        if isinstance(op, GetArgs):
            assert reply == GetReply(value, version, Err.OK if version else Err.NO_KEY)
        elif op.version == version:
            assert reply == PutReply(Err.OK)
            model[op.key] = op.value, version + 1
        else:
            assert reply == PutReply(Err.VERSION if version else Err.NO_KEY)


@given(OPERATIONS, OPERATIONS)
def test_a_restored_store_goes_on_as_the_first_would(before, after):
    store, restored = Store(), Store()
    for op in before:
        store.do_op(op)
    restored.put(PutArgs("a", "what was there before", 0))
    restored.restore(store.snapshot())
    for op in after:
        assert restored.do_op(op) == store.do_op(op)
    assert restored.snapshot() == store.snapshot()


def test_what_is_no_operation_is_refused():
    with pytest.raises(UsageError, match="give it a GetArgs or a PutArgs"):
        Store().do_op("get")

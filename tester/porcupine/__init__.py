"""Is a history of concurrent operations linearizable? A library of its own, which knows nothing of this project.

    history --> validate.py --> partitions --> the model's own decision:  versioned.py, registers.py
     (Operations or Events)     (one a key)    |  none, or "I cannot tell"
                                               +-> plain.py    the textbook search, a small budget
                                               +-> search.py   stages of returns, credit, dominance
                                                     |  timeline.py, open_operations.py: who is open when
                                                     |  memo.py, foresight.py: what need not be explored
                                                     |  placement.py: where everybody goes
                                                     v
     CheckResult, LinearizationInfo  <-- info.py, explain.py     models.py: stores and registers
     (orders that anybody can verify, or one sentence why not)   model.py:  write your own
                                      |
                                      +--> visualize.py, page/: one HTML page, to look at

A register that one client wrote, and another read too late:

    >>> from tester.porcupine import *
    >>> history = [
    ...     Operation("a", RegisterInput("write", 1), 0.0, RegisterOutput(), 1.0),
    ...     Operation("b", RegisterInput("read"), 2.0, RegisterOutput(None), 3.0),
    ... ]
    >>> check_operations(register_model(), history)
    <CheckResult.ILLEGAL: 'illegal'>

`check_operations_verbose` says why. Without a timeout a verdict is never UNKNOWN.
"""

from tester.porcupine.checker import check_events, check_events_verbose, check_operations, check_operations_verbose
from tester.porcupine.errors import HistoryError, ModelError
from tester.porcupine.info import LinearizationInfo, verify_linearization
from tester.porcupine.model import (
    ANY_STATE,
    CheckResult,
    Decision,
    Event,
    EventKind,
    Finding,
    Foresight,
    Model,
    NondeterministicModel,
    Operation,
    Traits,
)
from tester.porcupine.models import (
    KvInput,
    KvOutput,
    RegisterInput,
    RegisterOutput,
    StringKvInput,
    StringKvOutput,
    cas_register_model,
    kv_model,
    register_model,
    string_kv_model,
)
from tester.porcupine.timeline import Timeline
from tester.porcupine.visualize import visualize, visualize_html

__all__ = [
    "ANY_STATE",
    "CheckResult",
    "Decision",
    "Event",
    "EventKind",
    "Finding",
    "Foresight",
    "HistoryError",
    "KvInput",
    "KvOutput",
    "LinearizationInfo",
    "Model",
    "ModelError",
    "NondeterministicModel",
    "Operation",
    "RegisterInput",
    "RegisterOutput",
    "StringKvInput",
    "StringKvOutput",
    "Timeline",
    "Traits",
    "cas_register_model",
    "check_events",
    "check_events_verbose",
    "check_operations",
    "check_operations_verbose",
    "kv_model",
    "register_model",
    "string_kv_model",
    "verify_linearization",
    "visualize",
    "visualize_html",
]

"""The models that have a name in files and on the command line, and how their operations are written as JSON objects.

    kv            {"op": "get", "key": "x"}                                    {"err": "OK", "value": "a", "version": 1}
                  {"op": "put", "key": "x", "value": "a", "version": 0}        {"err": "OK"}
    register      {"op": "read"}                                               {"value": 3}
                  {"op": "write", "value": 3}                                  {}
    cas-register  the same, and {"op": "cas", "expected": 3, "value": 4}       {"ok": true}
    string-kv     {"op": "get", "key": "x"}                                    {"value": "ab"}
                  {"op": "put", "key": "x", "value": "a"}, and "append"        {}

On the left what was asked, on the right what came back. `err` is OK, NO_KEY, VERSION or MAYBE. Registers hold numbers,
strings, true, false or null, null at first; where there are several, their operations have a "key". Strings are "" at
first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, TypeAlias

from tester.porcupine.model import Model
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

__all__ = ["KNOWN_MODELS", "KnownModel"]

_STRING: Final = (str,)
_INTEGER: Final = (int,)
_BOOLEAN: Final = (bool,)
_SCALAR: Final = (str, int, float, bool, type(None))
_NAMES: Final[Mapping[tuple[type, ...], str]] = {_STRING: "a string", _INTEGER: "an integer", _BOOLEAN: "true or false"}

_Fields: TypeAlias = Mapping[str, tuple[type, ...]]
"""Names of fields, and the types of their values. A name that ends in `?` may be missing."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model with a name.

    Attributes:
        make: the model.
        ops: for each `op` the fields of what is asked, beside `op`, and of what comes back.
    """

    name: str
    make: Callable[[], Model]
    input_type: type[Any]
    output_type: type[Any]
    ops: Mapping[str, tuple[_Fields, _Fields]]

    def input_of(self, written: Any) -> Any:
        """The input that a JSON object stands for.

        Raises:
            ValueError: it stands for none; the message says why, and of what.
        """
        op = written.get("op") if isinstance(written, dict) else None
        if not isinstance(op, str) or op not in self.ops:
            known = " or ".join(f'"{name}"' for name in self.ops)
            raise ValueError(f"input {_short(written)} of model {self.name} is not an object with the op {known}")
        values = {name: value for name, value in written.items() if name != "op"}
        return self.input_type(op=op, **_checked(f"input of {op}", values, self.ops[op][0]))

    def output_of(self, input: Any, written: Any) -> Any:
        """The output that a JSON object stands for, after `input`. Raises as `input_of` does."""
        if not isinstance(written, dict):
            raise ValueError(f"output {_short(written)} of {input.op} is not an object; without a result it is {{}}")
        return self.output_type(**_checked(f"output of {input.op}", written, self.ops[input.op][1]))

    def write_input(self, input: Any) -> dict[str, Any]:
        """The JSON object for an input.

        Raises:
            ValueError: it is not this model's, or not one that JSON can hold.
        """
        if type(input) is not self.input_type or input.op not in self.ops:
            raise ValueError(f"input {_short(input)} is not one of model {self.name}")
        return {"op": input.op, **_written(f"input of {input.op}", input, self.ops[input.op][0])}

    def write_output(self, input: Any, output: Any) -> dict[str, Any]:
        """The JSON object for what came back after `input`; None is no result. Raises as `write_input` does."""
        if output is None and all(name.endswith("?") for name in self.ops[input.op][1]):
            return {}
        if type(output) is not self.output_type:
            raise ValueError(f"output {_short(output)} of {input.op} is not one of model {self.name}")
        return _written(f"output of {input.op}", output, self.ops[input.op][1])


def _checked(what: str, values: dict[str, Any], allowed: _Fields) -> dict[str, Any]:
    types = {name.removesuffix("?"): kinds for name, kinds in allowed.items()}
    for name, value in values.items():
        if name not in types:
            has = ", ".join(f'"{known}"' for known in types) or "none"
            raise ValueError(f'{what} has the field "{name}"; its fields are {has}')
        if type(value) not in types[name]:
            kind = _NAMES.get(types[name], "a number, a string, true, false or null")
            raise ValueError(f'"{name}" of {what} is {_short(value)}; it must be {kind}')
    missing = [f'"{name}"' for name in allowed if not name.endswith("?") and name not in values]
    if missing:
        raise ValueError(f"{what} lacks {' and '.join(missing)}")
    return values


def _written(what: str, value: Any, allowed: _Fields) -> dict[str, Any]:
    """The fields of a dataclass, without the optional ones that have their default."""
    defaults = {field.name: field.default for field in fields(value) if field.default is not MISSING}
    values = {name.removesuffix("?"): getattr(value, name.removesuffix("?")) for name in allowed}
    optional = {name.removesuffix("?") for name in allowed if name.endswith("?")}
    kept = {name: each for name, each in values.items() if name not in optional or each != defaults.get(name)}
    return _checked(what, kept, allowed)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_REGISTER_OPS: Final[dict[str, tuple[_Fields, _Fields]]] = {
    "read": ({"key?": _SCALAR}, {"value": _SCALAR}),
    "write": ({"key?": _SCALAR, "value": _SCALAR}, {}),
}
_CAS: Final = ({"key?": _SCALAR, "expected": _SCALAR, "value": _SCALAR}, {"ok": _BOOLEAN})
_FOUND: Final = {"err": _STRING, "value?": _STRING, "version?": _INTEGER}

KNOWN_MODELS: Final[Mapping[str, KnownModel]] = {
    known.name: known
    for known in (
        KnownModel(
            "kv",
            kv_model,
            KvInput,
            KvOutput,
            {
                "get": ({"key": _STRING}, _FOUND),
                "put": ({"key": _STRING, "value": _STRING, "version": _INTEGER}, _FOUND),
            },
        ),
        KnownModel("register", register_model, RegisterInput, RegisterOutput, _REGISTER_OPS),
        KnownModel("cas-register", cas_register_model, RegisterInput, RegisterOutput, {**_REGISTER_OPS, "cas": _CAS}),
        KnownModel(
            "string-kv",
            string_kv_model,
            StringKvInput,
            StringKvOutput,
            {
                "get": ({"key": _STRING}, {"value": _STRING}),
                "put": ({"key": _STRING, "value": _STRING}, {}),
                "append": ({"key": _STRING, "value": _STRING}, {}),
            },
        ),
    )
}
"""By name."""

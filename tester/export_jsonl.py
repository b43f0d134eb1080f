r"""A journal as JSON Lines: for jq, notebooks and other languages.

    {"format":"raftlab-journal","version":1,"time_unit":"ns","events":212,"hash":"d573…","cut_short":false,"failure":null}
    {"event":"delivered","at":310215307,"message":7}

A line of head, then a line an event, in the journal's order and with its fields. Payloads are decoded: whatever the
codec carries has one form, and no two values share one, so the values can be had back. docs/journal.md is the
description, docs/journal.schema.json the JSON Schema of a line, which is `schema` here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, get_args

import msgspec

from labrpc.codec import CodecError, EnumRecord, Record, decode_record
from labrpc.journal import VERSION, Event, Journal
from tester.failures import Failure

__all__ = ["lines", "schema"]

_EXACT: Final = 2**53
"""Integers below it are exact where all numbers are doubles."""

_encoder = msgspec.json.Encoder()


def lines(journal: Journal, failure: Failure | None = None) -> Iterator[bytes]:
    """The lines, each with its end, in UTF-8; the first is the head.

    Args:
        failure: what is known of the run beside its events.
    """
    head = {
        "format": "raftlab-journal",
        "version": VERSION,
        "time_unit": "ns",
        "events": len(journal),
        "hash": journal.digest(),
        "cut_short": journal.cut_short,
        "failure": failure,
    }
    yield _encoder.encode(head) + b"\n"
    for event in journal:
        yield _encoder.encode(_line(event)) + b"\n"


def _line(event: Any) -> dict[str, Any]:
    kind = type(event)
    line: dict[str, Any] = {"event": _NAMES[kind]}
    for field in kind.__struct_fields__:
        value = getattr(event, field)
        line[field] = _decoded(value) if type(value) is bytes else value
    return line


def _name(kind: type) -> str:
    """`AnnotationEnded` is written `annotation_ended`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


_NAMES: Final = {kind: _name(kind) for kind in get_args(Event)}

# ------------------------------------------------------------------ values


@lru_cache(maxsize=4096)
def _decoded(payload: bytes) -> msgspec.Raw:
    """The value that is encoded in `payload`, as JSON. Heartbeats repeat, so what was written is kept."""
    try:
        return msgspec.Raw(_encoder.encode(_value(decode_record(payload))))
    except (CodecError, RecursionError, _NoValue):
        return msgspec.Raw(_encoder.encode({"undecoded": _base64(payload)}))


class _NoValue(Exception):
    """Nothing that the codec writes."""


def _value(value: Any) -> Any:
    """What stands for `value` in JSON. Every object says by its first key what it is."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) < _EXACT else {"int": str(value)}
        case float():
            return value if abs(value) < float("inf") else {"float": str(value)}
        case bytes():
            return {"bytes": _base64(value)}
        case list():
            return [_value(each) for each in value]
        case tuple():
            return {"tuple": [_value(each) for each in value]}
        case dict():
            return {"dict": [[_value(key), _value(each)] for key, each in value.items()]}
        case EnumRecord(type_name=str() as name, member=str() as member):
            return {"enum": name, "member": member}
        case Record(type_name=str() as name, fields=dict() as fields) if all(type(field) is str for field in fields):
            return {"type": name, "fields": {field: _value(each) for field, each in fields.items()}}
        case _:
            raise _NoValue


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# ------------------------------------------------------------------ the schema


def schema() -> dict[str, Any]:
    """The JSON Schema of a line. It is strict: it has what this version writes, and nothing else."""
    kinds = {_NAMES[kind]: _event_schema(kind) for kind in get_args(Event)}
    head = _object(
        {
            "format": {"const": "raftlab-journal"},
            "version": {"const": VERSION},
            "time_unit": {"const": "ns"},
            "events": {"type": "integer", "minimum": 0},
            "hash": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "cut_short": {"type": "boolean"},
            "failure": {"type": ["object", "null"]},
        }
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a raftlab journal exported as JSON Lines, version {VERSION}",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in ("head", *kinds)],
        "$defs": {"head": head, **kinds, "payload": _PAYLOAD, "value": _VALUE, "base64": _BASE64},
    }


def _object(properties: dict[str, Any], description: str = "") -> dict[str, Any]:
    """Of just these properties, every one required."""
    described = {"description": description} if description else {}
    required = list(properties)
    return {
        **described, "type": "object", "properties": properties, "required": required, "additionalProperties": False
    }  # fmt: skip


def _event_schema(kind: Any) -> dict[str, Any]:
    fields = {field.name: _BY_TYPE[field.type] for field in msgspec.structs.fields(kind)}
    return _object({"event": {"const": _NAMES[kind]}, **fields}, (kind.__doc__ or "").partition("\n")[0])


_BY_TYPE: Final[dict[Any, dict[str, str]]] = {
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    bytes: {"$ref": "#/$defs/payload"},
}

_REF: Final = {"$ref": "#/$defs/value"}
_STRING: Final = {"type": "string"}
_BASE64: Final = {"type": "string", "contentEncoding": "base64"}
_PAYLOAD: Final = {"oneOf": [_REF, _object({"undecoded": {"$ref": "#/$defs/base64"}})]}
_VALUE: Final = {
    "oneOf": [
        {"type": ["null", "boolean", "number", "string"]},
        {"type": "array", "items": _REF},
        _object({"int": {"type": "string", "pattern": "^-?[0-9]+$"}}),
        _object({"float": {"enum": ["nan", "inf", "-inf"]}}),
        _object({"bytes": {"$ref": "#/$defs/base64"}}),
        _object({"tuple": {"type": "array", "items": _REF}}),
        _object({"dict": {"type": "array", "items": {"type": "array", "prefixItems": [_REF, _REF], "minItems": 2,
                                                     "maxItems": 2}}}),
        _object({"enum": _STRING, "member": _STRING}),
        _object({"type": _STRING, "fields": {"type": "object", "additionalProperties": _REF}}),
    ]
}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))

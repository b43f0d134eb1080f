"""The documented form of Gradescope's results.json, as far as it can be checked here.

Source: Gradescope's “Autograder Specifications”, sections “Output format” and “Controlling Test Case Visibility”.
"""

from __future__ import annotations

from typing import Any

__all__ = ["assert_is_gradescope"]

_VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}
_FORMATS = {"text", "html", "simple_format", "md", "ansi"}
_NUMBER, _TEXT = (int, float), str
_TOP = {
    "score": _NUMBER,
    "execution_time": _NUMBER,
    "output": _TEXT,
    "output_format": _FORMATS,
    "test_output_format": _FORMATS,
    "test_name_format": _FORMATS,
    "visibility": _VISIBILITIES,
    "stdout_visibility": _VISIBILITIES,
    "extra_data": dict,
    "tests": list,
    "leaderboard": list,
}
_TEST = {
    "score": _NUMBER,
    "max_score": _NUMBER,
    "status": {"passed", "failed"},
    "name": _TEXT,
    "name_format": _FORMATS,
    "number": _TEXT,
    "output": _TEXT,
    "output_format": _FORMATS,
    "tags": list,
    "visibility": _VISIBILITIES,
    "extra_data": dict,
}


def assert_is_gradescope(results: dict[str, Any], *, scored: bool = True) -> None:
    """Demands known fields with values that may be there; `scored`: that a score is known."""
    _check(results, _TOP)
    for test in results.get("tests", []):
        _check(test, _TEST)
        assert all(isinstance(each, str) for each in test["tags"])
        assert 0 <= test.get("score", 0) <= test["max_score"]
    has_score = "score" in results or (results.get("tests") and all("score" in test for test in results["tests"]))
    assert bool(has_score) == scored


def _check(data: dict[str, Any], fields: dict[str, Any]) -> None:
    for name, value in data.items():
        assert name in fields, name
        known = fields[name]
        assert value in known if isinstance(known, set) else isinstance(value, known), (name, value)
        assert not isinstance(value, bool)

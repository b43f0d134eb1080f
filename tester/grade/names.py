"""Names in a submission: which files are the student's, and what a submission is called."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["MOST_DEPTH", "PACKAGES", "is_name", "safe_name"]

PACKAGES = ("raft", "kvraft")
"""The folders of a submission whose Python files are taken."""

MOST_DEPTH = 8
_MOST_NAME = 100
_WORD = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_NAME = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:/{_WORD}){{0,{MOST_DEPTH}}}/{_WORD}\.py")
_UNSAFE = re.compile(r"[^A-Za-z0-9._@+-]")


def is_name(name: str) -> bool:
    """Whether `name` is that of a file that is taken: raft/…/x.py or kvraft/…/x.py, all Python names in ASCII."""
    return _NAME.fullmatch(name) is not None and "__pycache__" not in name.split("/")


def safe_name(name: str) -> str:
    """`name`, if it can be a folder's name everywhere, else one like it with a few letters that tell it from others."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    safe = _UNSAFE.sub("_", plain).lstrip(".-")[:_MOST_NAME].rstrip(".")
    if safe and safe == name:
        return safe
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{safe or 'submission'}-{mark}"

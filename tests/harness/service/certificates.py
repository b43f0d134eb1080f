"""Certificates for tests, made with openssl: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["make_authority", "make_certificate"]

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path, name: str = "ca") -> Path:
    """An authority's certificate `name`.pem in `folder`, and its key beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate = folder / f"{name}.pem"
    _openssl(
        *("req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}"),
        *("-keyout", str(folder / f"{name}.key"), "-out", str(certificate)),
    )
    return certificate


def make_certificate(authority: Path, name: str) -> tuple[Path, Path]:
    """(certificate, key) for `name` on this machine, signed by `authority`."""
    folder = authority.parent
    request, certificate, key = (folder / f"{name}.{kind}" for kind in ("csr", "pem", "key"))
    _openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
    extensions = folder / f"{name}.ext"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl(
        *("x509", "-req", "-in", str(request), "-days", "2", "-CA", str(authority), "-CAcreateserial"),
        *("-CAkey", str(authority.with_suffix(".key")), "-extfile", str(extensions), "-out", str(certificate)),
    )
    return certificate, key


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

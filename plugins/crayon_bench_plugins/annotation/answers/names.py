"""Annotators' names, and what their files are called."""

import hashlib
import re
import unicodedata

from crayon_bench import UserError

LONGEST_NAME = 80
"""Characters of an annotator's name."""


def check_name(name: str) -> str:
    """Return an annotator's name in its one spelling (NFC, no spaces around it). Raises UserError."""
    name = unicodedata.normalize("NFC", name[: 8 * LONGEST_NAME]).strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(f"annotator {name[:100]!r}: expected a name of 1 to {LONGEST_NAME} printable characters")
    return name


def slug_of(name: str) -> str:
    """Return what an annotator's files are called: safe, and different for different names."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    word = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:32].strip("-") or "annotator"
    return f"{word}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

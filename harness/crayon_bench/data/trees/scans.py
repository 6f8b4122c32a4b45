"""What a tree holds, by name, size and checksum; kept in the cache folder until it changes."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from crayon_bench.data.roots import cache_root
from crayon_bench.store.atomic import write_file

_FORMAT = 1
"""Raise it when what is kept of a scan changes."""


@dataclass(frozen=True, slots=True)
class Member:
    """size: bytes; crc32: of the content."""

    size: int
    crc32: int


@dataclass
class Scan:
    """What a tree holds. members: by name. texts: the contents of small texts, where they are slow to come by."""

    members: dict[str, Member] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def digest_of(members: Mapping[str, Member], names: Collection[str]) -> str:
    """Return a sha256 of the name, size and crc32 of these *names*, in their order."""
    hasher = hashlib.sha256()
    for name in names:
        member = members[name]
        hasher.update(f"{name}\t{member.size}\t{member.crc32:08x}\n".encode(errors="surrogateescape"))
    return hasher.hexdigest()


def kept_or_made(here: tuple[str, str], signature: str, make: Callable[[], Scan]) -> Scan:
    """Return the scan that is kept in the cache folder, or *make* and keep it. A cache that fails is done without."""
    file = cache_root() / "trees" / f"{hashlib.sha256(repr(here).encode()).hexdigest()[:24]}.scan"
    try:
        checksum, _, body = file.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            raise ValueError("damaged")
        content: Any = json.loads(body)
        if [content["format"], content["where"], content["signature"]] == [_FORMAT, list(here), signature]:
            members = {name: Member(size, crc32) for name, size, crc32 in content["members"]}
            return Scan(members, dict(content["texts"]))
    except (OSError, ValueError, KeyError):
        pass
    scan = make()
    kept = {
        "format": _FORMAT,
        "where": here,
        "signature": signature,
        "members": [(name, member.size, member.crc32) for name, member in scan.members.items()],
        "texts": scan.texts,
    }
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        body = json.dumps(kept).encode()
        write_file(file, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    return scan

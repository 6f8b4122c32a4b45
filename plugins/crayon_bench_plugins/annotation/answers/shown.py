"""Hashes of what is shown: an answer is about that, and about nothing that looks otherwise."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def map_hash(saliency: NDArray[Any]) -> str:
    """Return the hash of one map (H, W) as it is shown: of its shape and its float32 values. 16 hex digits."""
    values = np.ascontiguousarray(saliency, dtype="<f4")
    return _short(f"map {values.shape}\n".encode() + values.tobytes())


def patches_hash(ids: Sequence[str], boxes: NDArray[Any]) -> str:
    """Return the hash of one neuron's patches, strongest first: *ids* of their k examples, *boxes* int (k, 4)."""
    places = np.ascontiguousarray(boxes, dtype="<i8").reshape(len(ids), 4)
    return _short(b"patches\n" + json.dumps(list(ids)).encode() + b"\n" + places.tobytes())


def image_hash(content: str, example: str) -> str:
    """Return the hash of one image: of the data set's *content* hash and the *example*'s id."""
    return _short(b"image\n" + json.dumps([content, example]).encode())


def unseen_hash(example: str) -> str:
    """Return the hash of what somebody was shown about an *example* that is not here: no map has it."""
    return _short(b"unseen\n" + json.dumps([example]).encode())


def neuron_id(number: int) -> str:
    """Return the id of a question about a neuron."""
    return f"neuron-{number}"


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

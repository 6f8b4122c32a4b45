"""Plugins that misbehave, as source text for ``--plugin FILE``."""

METHOD = """
import torch
from crayon_bench import FeedbackKind, Method
class Mine(Method):
    name = "{name}"
    title = "{title}"
    summary = "for a test"
    {extra}
    def refine(self, job):
{body}
"""


def method(name: str, body: str, *, extra: str = "", title: str | None = None) -> str:
    """Return a plugin file with one method whose ``refine`` has the given *body*."""
    indented = "\n".join("        " + line for line in body.strip().splitlines())
    return METHOD.format(name=name, title=title or name.title(), extra=extra, body=indented)

"""Docstrings as the reference shows them: roles become links, and lists of arguments become lists."""

import re
from typing import Any

from griffe import Extension, GriffeLoader, NameResolutionError, Object

_ROLE = re.compile(r":\w+:`(~?)([\w.]+)`")
_ARGUMENT = re.compile(r"^\*?[a-z_][a-z0-9_]*\*?(?:(?:, | / )\*?[a-z_0-9]+\*?)*: ")


class Docstrings(Extension):
    """Turns ``:class:`~a.b.C``` into C with a link where the reference has it, and what else Markdown does not know."""

    def on_object(self, *, obj: Object, loader: GriffeLoader, **_: Any) -> None:
        """Rewrite the docstring of everything that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = _markdown(obj.docstring.value, obj)


def _markdown(text: str, obj: Object) -> str:
    text = re.sub(r"::$", ":", text, flags=re.M)  # a block of code follows, which is indented in both
    text = "\n\n".join(_listed(part) for part in text.split("\n\n"))
    return _ROLE.sub(lambda role: _link(role[2], obj, short=bool(role[1])), text)


def _listed(paragraph: str) -> str:
    """Make an item of each line that begins with an argument's name and a colon."""
    lines = paragraph.split("\n")
    if not _ARGUMENT.match(lines[0]):
        return paragraph
    return "\n".join(f"- {line}" if _ARGUMENT.match(line) else f"  {line}" for line in lines)


def _link(name: str, obj: Object, *, short: bool) -> str:
    parent, _, last = name.rpartition(".")
    shown = last if short or (last[0].isupper() and parent.startswith("crayon_bench")) else name
    path = name
    if not name.startswith("crayon_bench."):
        first, dot, rest = name.partition(".")
        try:
            path = obj.resolve(first) + dot + rest
        except NameResolutionError:
            return f"`{shown}`"
    return f'<autoref optional identifier="{path}"><code>{shown}</code></autoref>'

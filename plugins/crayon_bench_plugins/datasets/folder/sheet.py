"""``metadata.csv`` as cells, whatever spreadsheet wrote it: commas, semicolons or tabs, empty rows, ``sep=``."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crayon_bench import UserError
from crayon_bench_plugins.datasets.folder.reading import read_bounded

LIST = "metadata.csv"
REQUIRED = ("path", "label", "split")
OPTIONAL = ("attribute", "mask", "box")
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "|"}
"""Of separators."""


@dataclass
class Sheet:
    """A file of cells. line: of the header, from 1. empty, comments: how many lines were passed over so far."""

    file: Path
    text: str
    separator: str
    line: int
    header: list[str]
    comments: int
    told: bool
    empty: int = field(default=0, init=False)

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows under the header that are not empty, as (line, cells). Raises UserError."""
        lines = io.StringIO(self.text, newline="")
        for _ in range(self.line):
            lines.readline()
        reader = _reader(lines, self.separator)
        try:
            for cells in reader:
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    yield self.line + reader.line_num, stripped
                else:
                    self.empty += 1
        except csv.Error as error:
            hint = "save it as CSV, with commas and quotes"
            raise UserError(f"{self.file}, line {self.line + reader.line_num}: {error}", hint) from None

    def skipped(self, comments: int) -> str:
        """Return in words what was passed over; *comments*: lines that turned out to be some, under the header."""
        parts = ["the line sep="] if self.told else []
        for number, what in ((self.empty, "empty row"), (self.comments + comments, "comment line")):
            if number:
                parts.append(f"{number:,} {what}{'s' if number > 1 else ''}")
        return f"{LIST}: passed over: {', '.join(parts)}" if parts else ""


def read_sheet(file: Path) -> Sheet:
    """Find the header and the separator. Raises UserError if the file cannot be read, or no text."""
    try:
        content = read_bounded(file)
    except FileNotFoundError:
        hint = f"its columns: {', '.join(REQUIRED)}; optional: {', '.join(OPTIONAL)}"
        raise UserError(f"{file.parent}: there is no {LIST} in it", hint) from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file}, line {line}: not UTF-8 text", "save it as CSV in UTF-8") from None
    told, comments, number, start = "", 0, 1, 0
    for number, written in enumerate(io.StringIO(text, newline=""), start=1):
        words = written.strip()
        if number == 1 and (said := re.fullmatch(r'"?sep=(.?)"?', written.rstrip("\r\n"), re.IGNORECASE)):
            told = said[1]
            if told not in NAMES:
                raise UserError(f"{file}, line 1: {words[:20]!r}", "expected sep= and a comma, semicolon, tab or |")
        elif words.startswith("#"):
            comments += 1
        elif words.strip(",;\t| "):
            break
        start += len(written)
    choices, errors = {}, []
    for separator in [told] if told else [*NAMES]:
        try:
            reader = _reader(io.StringIO(text[start:], newline=""), separator)
            choices[separator] = [cell.strip() for cell in next(reader, [])], number + max(reader.line_num - 1, 0)
        except csv.Error as error:
            errors.append(error)
    if not choices:
        raise UserError(f"{file}, line {number}: {errors[0]}", "save it as CSV, with commas and quotes")
    best = max(choices, key=lambda one: len({cell.lower() for cell in choices[one][0]} & {*REQUIRED}))
    header, last = choices[best]
    return Sheet(file, text, best, last, header, comments, bool(told))


def _reader(lines: io.StringIO, separator: str) -> Any:
    return csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)

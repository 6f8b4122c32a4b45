"""Columns and rows of text, which all printed formats share."""

from dataclasses import dataclass
from itertools import groupby


def footnote_sign(note: int) -> str:
    """Return a, b, … z, aa, ab … for 1, 2, …"""
    sign = ""
    while note:
        note, rest = divmod(note - 1, 26)
        sign = chr(ord("a") + rest) + sign
    return sign


@dataclass(frozen=True)
class Text:
    """A cell: its text, its mark ("best", "second" or "") and its footnotes."""

    text: str
    mark: str = ""
    notes: tuple[int, ...] = ()

    @property
    def signs(self) -> str:
        """The signs of its footnotes: ``a,c``."""
        return ",".join(map(footnote_sign, self.notes))


@dataclass(frozen=True)
class Column:
    """A column's heading, whose second line is *by*. group: title of its data set, where a table has several."""

    name: str
    group: str = ""
    by: str = ""
    left: bool = False

    @property
    def within(self) -> str:
        """Heading under the heading of its group."""
        return f"{self.name} {self.by}".rstrip()

    @property
    def heading(self) -> str:
        """Heading that stands alone."""
        return f"{self.group} {self.within}".lstrip()


@dataclass(frozen=True)
class Grid:
    """Columns and rows. lead: how many columns come before those of the data sets."""

    columns: list[Column]
    rows: list[list[Text]]
    lead: int
    title: str = ""

    def groups(self) -> list[tuple[str, int]]:
        """Return the title and the number of columns of each data set; one without a title if there is only one."""
        return [(name, len(list(same))) for name, same in groupby(column.group for column in self.columns[self.lead :])]

    def by_group(self) -> "list[Grid]":
        """Return a grid for each data set, all with the leading columns."""
        grids = []
        for name, _ in self.groups():
            grids.append(self.only([n for n, one in enumerate(self.columns) if n < self.lead or one.group == name]))
        return grids

    def only(self, keep: list[int]) -> "Grid":
        """Return the grid of these columns; all leading ones are among them."""
        rows = [[row[n] for n in keep] for row in self.rows]
        return Grid([self.columns[n] for n in keep], rows, self.lead, self.title)

    def without(self, name: str) -> "Grid":
        """Return the grid without the columns of that name."""
        keep = [n for n, column in enumerate(self.columns) if column.name != name]
        lead = sum(n < self.lead for n in keep)
        rows = [[row[n] for n in keep] for row in self.rows]
        return Grid([self.columns[n] for n in keep], rows, lead, self.title)

"""Which files of a tree cannot be read: all of them, and not just the first."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from crayon_bench.data.preparing import Preparing, in_threads
from crayon_bench.data.trees.tree import Tree
from crayon_bench.errors import UserError


def broken_members(
    tree: Tree,
    names: Sequence[str],
    missing: Callable[[str], UserError],
    decode: Callable[[tuple[str, bytes]], object],
) -> list[tuple[str, UserError]]:
    """Return those of *names* that *tree* lacks, and those that it or *decode* (name, content) cannot read, in order.

    missing: what is said of one that the tree lacks. *decode* is called in several threads.
    """
    wrong = {name: missing(name) for name in tree.missing(names)}

    def one(item: tuple[str, bytes]) -> tuple[str, UserError | None]:
        try:
            decode(item)
        except UserError as error:
            return item[0], error
        return item[0], None

    there = [name for name in dict.fromkeys(names) if name not in wrong]
    with (
        Preparing(f"{tree.path.name}: reading", len(there)) as progress,
        closing(in_threads(one, _readable(tree, there, wrong))) as results,
    ):
        for name, error in results:
            if error is not None:
                wrong[name] = error
            progress.step()
    return [(name, wrong[name]) for name in dict.fromkeys(names) if name in wrong]


def _readable(tree: Tree, names: Sequence[str], wrong: dict[str, UserError]) -> Iterator[tuple[str, bytes]]:
    """Yield what the tree gives of *names*. It ends at a broken one: what is left is asked for again, in halves."""
    left = dict.fromkeys(names)
    try:
        for name, content in tree.contents(names):
            del left[name]
            yield name, content
    except UserError as error:
        rest = [*left]
        if len(rest) == 1:
            wrong[rest[0]] = error
            return
        for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
            yield from _readable(tree, half, wrong)

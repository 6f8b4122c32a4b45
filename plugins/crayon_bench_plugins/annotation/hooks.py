"""How annotation reaches the command line."""

from collections.abc import Callable

from crayon_bench.plugins.hookspecs import hookimpl


@hookimpl
def add_commands(register: Callable[[str, str, str], None]) -> None:
    """Add ``crayon-bench annotate``."""
    register("annotate", "crayon_bench_plugins.annotation.cli:annotate", "Let people answer; look at their answers.")

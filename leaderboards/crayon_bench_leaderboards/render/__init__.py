"""Tables as text: terminal, markdown, latex, csv and json."""

from crayon_bench_leaderboards.render.delimited import to_csv
from crayon_bench_leaderboards.render.grid import to_latex, to_markdown
from crayon_bench_leaderboards.render.objects import to_json
from crayon_bench_leaderboards.render.terminal import print_terminal, to_terminal

__all__ = ["print_terminal", "to_csv", "to_json", "to_latex", "to_markdown", "to_terminal"]

"""Tables as text: terminal, markdown, latex, html, csv and json; and as data frames."""

from crayon_bench_leaderboards.render.delimited import tables_frame, to_csv
from crayon_bench_leaderboards.render.grid import to_latex, to_markdown
from crayon_bench_leaderboards.render.html import to_html
from crayon_bench_leaderboards.render.objects import to_json
from crayon_bench_leaderboards.render.terminal import print_terminal, to_terminal

__all__ = ["print_terminal", "tables_frame", "to_csv", "to_html", "to_json", "to_latex", "to_markdown", "to_terminal"]

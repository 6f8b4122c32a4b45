"""``crayon-bench annotate``. A command's file is imported when it is used."""

from crayon_bench.commands import LazyGroup

_HERE = "crayon_bench_plugins.annotation"

annotate = LazyGroup(
    "annotate",
    closed=True,
    help="Let people answer, and look at what they answered.",
    lazy={
        "serve": (f"{_HERE}.serve:serve", "Ask people on a page in the browser, and record their answers."),
        "agreement": (f"{_HERE}.commands:agreement", "How far annotators agree, and where they do not."),
        "export": (f"{_HERE}.commands:export", "Write all answers to a table."),
        "import": (f"{_HERE}.importing:import_answers", "Take answers about maps that others released."),
        "merge": (f"{_HERE}.commands:merge", "Put folders of answers together."),
    },
)

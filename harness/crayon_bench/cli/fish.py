"""Completion in fish: click's own script cuts a name at its commas, and lists of names have some."""

from click.shell_completion import FishComplete, add_completion_class

_CUT, _WHOLE = 'string split "," $completion', 'string split --max 1 "," $completion'


def mend_fish() -> None:
    """Give fish a script that cuts a line at its first comma alone, behind which the name is."""

    class Mended(FishComplete):
        source_template = FishComplete.source_template.replace(_CUT, _WHOLE)

    add_completion_class(Mended)

"""What can be asked of a person, and what can be answered. Light: reports read this without numpy or torch."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class FeedbackKind(StrEnum):
    """A kind of question; the ledger counts answers by kind."""

    MAP_VERDICT = "map_verdict"
    """Does this saliency map look at the right place? yes / no / maybe, one answer per map."""
    NEURON_VERDICT = "neuron_verdict"
    """Do this neuron's patches show something relevant? yes / no, one answer per neuron."""
    RELEVANT_MASK = "relevant_mask"
    """Which pixels matter? One mask per image."""
    IRRELEVANT_MASK = "irrelevant_mask"
    """Which pixels must not matter? One mask per image."""
    BOX = "box"
    """Where is what matters? One bounding box per image."""
    GROUP = "group"
    """To which group does this training example belong? One group label per image."""

    @property
    def label(self) -> str:
        """The name that the papers' tables use."""
        return _LABELS[self]


_LABELS = {
    FeedbackKind.MAP_VERDICT: "Yes-No",
    FeedbackKind.NEURON_VERDICT: "Yes-No",
    FeedbackKind.RELEVANT_MASK: "Map",
    FeedbackKind.IRRELEVANT_MASK: "Map",
    FeedbackKind.BOX: "Bounding box",
    FeedbackKind.GROUP: "Group label",
}


class Verdict(IntEnum):
    """One answer about a map or a neuron. *Unasked* and *maybe* are different things."""

    NO = -1
    MAYBE = 0
    YES = 1
    UNASKED = 2


def feedback_label(kinds: Iterable[FeedbackKind]) -> str:
    """Return the text of a table's Feedback column, for example ``"Yes-No, Map"``; ``"None"`` for no feedback."""
    labels = list(dict.fromkeys(kind.label for kind in kinds))
    return ", ".join(labels) if labels else "None"


class Control(StrEnum):
    """Answers that carry less, in the place of the true ones; what these add is the difference."""

    SHUFFLED = "shuffled"
    """Each is given about another image of the same class: what it tells of the class stays. Of neurons: of any."""
    SHUFFLED_ALL = "shuffled-all"
    """Each is given about any other image."""
    CONSTANT = "constant"
    """All are the commonest one; of masks the mean mask, of boxes the mean box: the fixed prior."""


def control_label(name: str) -> str:
    """Return a control as in a table, behind the method's title: ``answers shuffled``."""
    return _CONTROLS.get(name, f"control {name}")


_CONTROLS: dict[str, str] = {
    Control.SHUFFLED: "answers shuffled",
    Control.SHUFFLED_ALL: "answers shuffled over classes",
    Control.CONSTANT: "one answer for all",
}

"""Closed choices of a question, apart from the nouns: a command line names them without NumPy."""

from enum import StrEnum
from typing import Final


class Mode(StrEnum):
    """What ranks: the vectors, the words of names, captions and labels, or both."""

    VECTOR = "vector"
    TEXT = "text"
    HYBRID = "hybrid"


class Negation(StrEnum):
    """How negative terms act: taken off the sum, or projected out of it."""

    SUBTRACT = "subtract"
    PROJECT = "project"


USUAL_NEGATION: Final = Negation.SUBTRACT
"""What ranked better on captioned photos; `benchmarks/negation.py` measures it."""


class Cutoff(StrEnum):
    """What happens to answers that are no better than chance."""

    OFF = "off"
    MARK = "mark"
    DROP = "drop"


class Sort(StrEnum):
    """What the answers are ordered by: best, newest, or first in the alphabet first."""

    SCORE = "score"
    DATE = "date"
    NAME = "name"


class Grouping(StrEnum):
    """What the answers of a group have in common."""

    DAY = "day"
    FOLDER = "folder"

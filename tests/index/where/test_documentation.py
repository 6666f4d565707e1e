"""What the documentation says of conditions: its examples can be read, its columns are all."""

import re
from pathlib import Path

import pytest

from mmsearch.index.where.columns import COLUMNS
from mmsearch.index.where.grammar import parse_condition

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EXAMPLE = re.compile(r'--where "([^"]+)"')


@pytest.fixture(scope="module")
def text() -> str:
    return "\n".join(page.read_text() for page in PAGES)


def test_every_condition_of_the_documentation_can_be_read(text: str) -> None:
    examples = [example for example in EXAMPLE.findall(text) if example != "width >="]
    assert len(examples) >= 6
    for example in examples:
        parse_condition(example)


def test_every_column_is_documented(text: str) -> None:
    table = {
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert set(COLUMNS) <= table

"""What a hub's card says of a model, and the card that an added model gets."""

from pathlib import Path

import pytest

from mmsearch.core import Space
from mmsearch.retrieval.convert.card import hub_facts, render_added_card
from mmsearch.retrieval.description import ModelDescription, TextSpec


@pytest.mark.parametrize(
    ("card", "licence", "data"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0", {}),
        ("---\r\nlicense: 'mit'\r\ndatasets: [a/b, \"c d\"]\r\n---", "mit",
         {"datasets": "a/b, c d"}),
        ("---\nlicense:\n- mit\n- cc-by-4.0\ndatasets:\n  - a/b\n---\n", "mit, cc-by-4.0",
         {"datasets": "a/b"}),
        ("---\nlicense: other\nlicense_name: apple\nlicense_link: LICENSE\n---\n", "apple LICENSE",
         {}),
        ("---\nlicense: other\n---\n", "other", {}),
        ("---\nlicense_name: house\n---\n", "house", {}),
        ("# no front matter\nlicense: mit\n", "", {}),
        ("---\nlicense: mit\n", "", {}),
        ("", "", {}),
        ("---\n\x00\xff: [\n  nested: {a\n---\n", "", {}),
    ],
)  # fmt: skip
def test_licence_and_data_come_from_the_front_matter(
    tmp_path: Path, card: str, licence: str, data: dict[str, str]
) -> None:
    (tmp_path / "README.md").write_bytes(card.encode("latin-1"))
    facts = hub_facts(tmp_path)
    assert (facts.licence, facts.data) == (licence, data)


def test_a_folder_without_a_card_states_nothing(tmp_path: Path) -> None:
    assert hub_facts(tmp_path).licence == ""
    assert hub_facts(None).data == {}


def test_a_long_licence_stays_one_short_line(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: " + "x " * 500 + "\n---\n")
    assert len(hub_facts(tmp_path).licence) <= 200


def described(licence: str = "mit") -> ModelDescription:
    return ModelDescription(
        space=Space("clip", 512, "0" * 64),
        preprocessing=None,
        text=TextSpec(77),
        licence=licence,
        source={"library": "open_clip", "architecture": "ViT-B-32 | x"},
        data={"datasets": "a/b"},
    )


def test_a_card_says_where_a_model_is_from_and_how_exactly_it_was_taken_over() -> None:
    tower = {"samples": 16, "cosine": 0.99999994, "centred_cosine": 0.9999998, "alone": 1e-7}
    card = render_added_card(described(), {"image": tower, "text": tower, "inversion": 0.0})
    assert card.startswith("# clip\n")
    assert "| architecture | ViT-B-32 \\| x |" in card
    assert "| datasets | a/b |" in card
    assert "- image tower, 16 samples: cosine 1.000000, around the mean 1.000000" in card
    assert "neighbours change places by at most 0e+00" in card
    assert "## Licence\n\nmit\n" in card
    assert "mmsearch models remove clip" in card


def test_a_card_says_what_is_not_known() -> None:
    card = render_added_card(described(licence=""), {})
    assert "Not compared with the source library." in card
    assert "## Licence\n\nNot stated by the source" in card

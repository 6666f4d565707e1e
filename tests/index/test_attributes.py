"""Facts, labels, captions and fused vectors: what is kept, and that it is believed only whole."""

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.index.conftest import OTHER, SPACE, behind, digest, fill, one_hot, picture, unit_rows

from mmsearch.core import Photo
from mmsearch.errors import InputError, UnsoundLibraryError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.checksums import row_checksum
from mmsearch.index.rows import (
    Batch,
    FileRow,
    Label,
    LabelChange,
    LabelSource,
    MovedRow,
    TouchedRow,
)
from mmsearch.index.spaces import drop_space

PHOTO = Photo(4000, 3000, 1_700_000_000, "Canon EOS 5D", 48.137, -11.575, 0xF00D << 48)
BARE = Photo(1, 1, None, None, None, None, 0)
USER, AUTO = LabelSource.USER, LabelSource.AUTO


def given_label(number: int, name: str, score: float | None = None) -> LabelChange:
    """Return a label of a person, or of a model when it has a score."""
    return LabelChange(number, name, USER if score is None else AUTO, score)


def fuse(catalog: Catalog, number: int, own: Sequence[float], space_id: int = 1) -> None:
    """Write a row that says that a vector is fused, and what it was before."""
    row = (space_id, number, 0.3, b"d" * 32, np.array(own, dtype="<f2").tobytes())
    with catalog.transaction() as db:
        db.execute("INSERT INTO fused VALUES (?, ?, ?, ?, ?, ?)", (*row, row_checksum(row)))


def fused(catalog: Catalog) -> list[tuple[int, int]]:
    """Return (space, item) of all fused vectors."""
    return catalog.rows("SELECT space_id, item_id FROM fused ORDER BY space_id, item_id")


# Facts


def test_facts_come_back_as_they_were_given(catalog: Catalog) -> None:
    row = replace(picture("/photos/a", one_hot(0)), photo=PHOTO)
    catalog.commit(Batch(files=(row, replace(picture("/photos/b", one_hot(1)), photo=BARE))))
    assert attributes.photos(catalog, [1, 2, 3]) == {1: PHOTO, 2: BARE}
    assert attributes.photos(catalog, np.array([2])) == {2: BARE}
    assert attributes.photos(catalog, []) == {}


def test_the_checksum_of_facts_is_that_of_their_columns_as_json(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(replace(picture("/photos/a", one_hot(0)), photo=PHOTO),)))
    signed = (0xF00D << 48) - (1 << 64)
    columns = f'[1,4000,3000,1700000000,"Canon EOS 5D",48.137,-11.575,{signed}]'
    assert catalog.rows("SELECT crc FROM photos") == [(zlib.crc32(columns.encode()),)]


@given(
    st.builds(
        Photo,
        st.integers(1, 1 << 31),
        st.integers(1, 1 << 31),
        st.none() | st.integers(-(1 << 40), 1 << 40),
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        st.none() | st.floats(-90, 90),
        st.none() | st.floats(-180, 180),
        st.integers(0, (1 << 64) - 1),
    )
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_facts_survive_the_catalog(catalog: Catalog, photo: Photo) -> None:
    if 1 not in catalog.items([1]):
        catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    attributes.set_photos(catalog, {1: photo})
    assert attributes.photos(catalog, [1]) == {1: photo}


def test_other_content_at_a_path_has_other_facts(catalog: Catalog) -> None:
    row = replace(picture("/photos/a", one_hot(0)), photo=PHOTO)
    catalog.commit(Batch(files=(row,)))
    catalog.commit(Batch(files=(replace(row, digest=digest("new"), photo=BARE),)))
    assert attributes.photos(catalog, [1]) == {1: BARE}
    catalog.commit(Batch(files=(replace(row, digest=digest("newer"), photo=None),)))
    assert attributes.photos(catalog, [1]) == {}


def test_labels_and_captions_stay_whatever_a_path_shows(catalog: Catalog) -> None:
    row = picture("/photos/a", one_hot(0))
    catalog.commit(Batch(files=(row,)))
    attributes.set_captions(catalog, {1: ("a dog",)})
    attributes.set_labels(catalog, [given_label(1, "dog")])
    catalog.commit(Batch(files=(replace(row, digest=digest("new"), root_id=1, mtime_ns=7),)))
    assert attributes.captions(catalog, [1]) == {1: ("a dog",)}
    assert attributes.label_counts(catalog) == {"dog": 1}


def test_the_same_content_encoded_again_keeps_its_facts(catalog: Catalog) -> None:
    row = replace(picture("/photos/a", one_hot(0)), photo=PHOTO)
    catalog.commit(Batch(files=(row,)))
    catalog.commit(Batch(files=(replace(row, photo=None),)))
    assert attributes.photos(catalog, [1]) == {1: PHOTO}


def test_a_move_and_a_new_time_keep_everything(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(replace(picture("/photos/a", one_hot(0)), photo=PHOTO),)))
    attributes.set_captions(catalog, {1: ("a dog",)})
    attributes.set_labels(catalog, [given_label(1, "dog")])
    fuse(catalog, 1, [0, 1, 0, 0])
    catalog.commit(Batch(moved=(MovedRow(1, b"/photos/sea/b", 1, 5),)))
    catalog.commit(Batch(touched=(TouchedRow(1, 6),)))
    assert attributes.photos(catalog, [1]) == {1: PHOTO}
    assert attributes.captions(catalog, [1]) == {1: ("a dog",)}
    assert attributes.labels(catalog, [1]) == {1: (Label("dog", USER, None),)}
    assert fused(catalog) == [(1, 1)]


def test_a_deleted_item_takes_everything_with_it(catalog: Catalog) -> None:
    rows = [replace(picture(f"/photos/{n}", one_hot(n)), photo=PHOTO) for n in range(2)]
    catalog.commit(Batch(files=tuple(rows)))
    attributes.set_captions(catalog, {1: ("a dog",), 2: ("a cat",)})
    attributes.set_labels(catalog, [given_label(1, "dog"), given_label(2, "cat")])
    fuse(catalog, 1, [0, 1, 0, 0])
    catalog.commit(Batch(gone=(1,)))
    assert attributes.photos(catalog, [1, 2]) == {2: PHOTO}
    assert attributes.captions(catalog, [1, 2]) == {2: ("a cat",)}
    assert attributes.label_counts(catalog) == {"cat": 1}
    assert fused(catalog) == []


def test_a_file_that_breaks_loses_its_facts_and_keeps_labels_and_captions(
    catalog: Catalog,
) -> None:
    catalog.commit(Batch(files=(replace(picture("/photos/a", one_hot(0)), photo=PHOTO),)))
    attributes.set_captions(catalog, {1: ("a dog",)})
    attributes.set_labels(catalog, [given_label(1, "dog")])
    fuse(catalog, 1, [0, 1, 0, 0])
    catalog.commit(Batch(blank=(1,)))
    assert attributes.photos(catalog, [1]) == {}
    assert fused(catalog) == []
    assert attributes.captions(catalog, [1]) == {1: ("a dog",)}
    assert attributes.label_counts(catalog) == {"dog": 1}


def test_pictures_without_facts_are_those_that_are_encoded(catalog: Catalog) -> None:
    fill(catalog, 3)
    attributes.set_photos(catalog, {2: PHOTO})
    catalog.commit(Batch(blank=(1,)))
    (known,) = attributes.without_photo(catalog)
    assert (known.id, known.path, known.digest) == (3, b"/photos/2", digest(b"/photos/2"))
    catalog.set_space(OTHER)  # nothing is encoded in it: what waits is read when it is
    assert attributes.without_photo(catalog) == []


def test_a_library_without_a_space_has_no_pictures_without_facts(directory: Path) -> None:
    with Catalog.open(directory, write=True) as catalog:
        assert attributes.without_photo(catalog) == []


# Labels


def test_labels_come_back_sorted_by_name(catalog: Catalog) -> None:
    fill(catalog, 2)
    attributes.set_labels(
        catalog, [given_label(1, "sea"), given_label(1, "dog", 0.25), given_label(2, "sea")]
    )
    assert attributes.labels(catalog, [1, 2, 9]) == {
        1: (Label("dog", AUTO, 0.25), Label("sea", USER, None)),
        2: (Label("sea", USER, None),),
    }
    assert attributes.label_counts(catalog) == {"dog": 1, "sea": 2}


def test_a_label_of_a_person_is_never_replaced_or_taken_by_a_model(catalog: Catalog) -> None:
    fill(catalog, 1)
    attributes.set_labels(catalog, [given_label(1, "dog")])
    attributes.set_labels(catalog, [given_label(1, "dog", 0.9)])
    attributes.set_labels(catalog, [LabelChange(1, "dog", AUTO, None, remove=True)])
    assert attributes.labels(catalog, [1]) == {1: (Label("dog", USER, None),)}


def test_a_person_replaces_and_takes_labels_of_a_model(catalog: Catalog) -> None:
    fill(catalog, 1)
    attributes.set_labels(catalog, [given_label(1, "dog", 0.9), given_label(1, "cat", 0.8)])
    attributes.set_labels(
        catalog, [given_label(1, "dog"), LabelChange(1, "cat", USER, None, remove=True)]
    )
    assert attributes.labels(catalog, [1]) == {1: (Label("dog", USER, None),)}


def test_a_model_replaces_its_own_score_and_takes_its_own_label(catalog: Catalog) -> None:
    fill(catalog, 1)
    attributes.set_labels(catalog, [given_label(1, "dog", 0.9), given_label(1, "cat", 0.8)])
    attributes.set_labels(
        catalog, [given_label(1, "dog", -0.0), LabelChange(1, "cat", AUTO, None, remove=True)]
    )
    assert attributes.labels(catalog, [1]) == {1: (Label("dog", AUTO, 0.0),)}


def test_a_sentence_can_be_labelled(catalog: Catalog) -> None:
    fill(catalog, 1)
    attributes.set_labels(catalog, [given_label(2, "animal")])
    assert attributes.label_counts(catalog) == {"animal": 1}


@pytest.mark.parametrize("name", ["", " dog", "dog ", "a\nb", "a\u2028b", "\udcff"])
def test_a_label_that_is_no_line_of_text_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"label .*(one line|Unicode)"):
        given_label(1, name)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(score: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        given_label(1, "dog", score)


def test_labels_of_an_item_that_is_not_there_change_nothing(catalog: Catalog) -> None:
    fill(catalog, 1)
    with pytest.raises(InputError, match="item 77 is not in the library"):
        attributes.set_labels(catalog, [given_label(1, "dog"), given_label(77, "dog")])
    assert attributes.label_counts(catalog) == {}


# Captions


def test_captions_keep_their_order_and_are_replaced_as_a_whole(catalog: Catalog) -> None:
    fill(catalog, 2)
    attributes.set_captions(catalog, {1: ("z", "a", "m"), 2: ("one",)})
    assert attributes.captions(catalog, [2, 1]) == {1: ("z", "a", "m"), 2: ("one",)}
    attributes.set_captions(catalog, {1: ("b",), 2: ()})
    assert attributes.captions(catalog, [2, 1]) == {1: ("b",)}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({77: ("a dog",)}, "item 77 is no picture"),
        ({2: ("a dog",)}, "item 2 is no picture"),  # a sentence
        ({1: ("a dog", " ")}, "a caption is empty"),
        ({1: ("\udcff",)}, "not valid Unicode"),
    ],
)
def test_captions_that_cannot_be_kept_change_nothing(
    catalog: Catalog, texts: dict[int, tuple[str, ...]], said: str
) -> None:
    fill(catalog, 1)
    attributes.set_captions(catalog, {1: ("before",)})
    with pytest.raises(InputError, match=said):
        attributes.set_captions(catalog, texts)
    assert attributes.captions(catalog, [1]) == {1: ("before",)}


# Fused vectors


def test_the_own_vector_of_a_fused_item_is_the_one_that_was_kept(catalog: Catalog) -> None:
    fill(catalog, 2)
    fuse(catalog, 1, [0, 0.5, 0, 0.5])
    own = catalog.own_vectors(SPACE, [2, 1])
    assert own[1].tolist() == [0, 0.5, 0, 0.5]
    assert own[0].tolist() == catalog.vectors(SPACE, [2])[0].tolist()
    assert catalog.own_vectors(SPACE, []).shape == (0, 4)
    with pytest.raises(InputError, match="item 9 has no vector"):
        catalog.own_vectors(SPACE, [9])


def test_a_vector_that_is_written_anew_is_fused_no_longer(catalog: Catalog) -> None:
    row = picture("/photos/a", one_hot(0))
    catalog.commit(Batch(files=(row,)))
    fuse(catalog, 1, [0, 1, 0, 0])
    catalog.commit(Batch(files=(row,)))
    assert fused(catalog) == []


def test_other_content_is_fused_in_no_space(catalog: Catalog) -> None:
    first = FileRow(b"/photos/a", 1, 1, 1, digest("a"), unit_rows(1, 3)[0])
    catalog.set_space(OTHER)
    catalog.commit(Batch(files=(first,)))
    fuse(catalog, 1, [0, 1, 0], space_id=2)
    catalog.set_space(SPACE)
    catalog.commit(Batch(files=(replace(first, vector=one_hot(1)),)))
    assert fused(catalog) == [(2, 1)]  # the same content in another space
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0), content="b"),)))
    assert fused(catalog) == []


def test_a_dropped_space_takes_its_fused_vectors_along(catalog: Catalog) -> None:
    fill(catalog, 1)
    fuse(catalog, 1, [0, 1, 0, 0])
    catalog.set_space(OTHER)
    drop_space(catalog, SPACE)
    assert fused(catalog) == []


# Damage


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE photos SET taken = 0", "the facts of item 1"),
        ("UPDATE photos SET camera = NULL", "the facts of item 1"),
        ("UPDATE labels SET score = 0.5", "a label of item 1"),
        ("UPDATE labels SET name = 'cog'", "a label of item 1"),
        ("UPDATE captions SET text = 'a dot'", "a caption of item 1"),
        ("UPDATE captions SET place = 3", "a caption of item 1"),
        ("UPDATE fused SET vector = zeroblob(8)", "a fused vector of item 1"),
    ],
)
def test_a_row_that_does_not_match_its_checksum_is_no_result(
    catalog: Catalog, directory: Path, statement: str, what: str
) -> None:
    catalog.commit(Batch(files=(replace(picture("/photos/a", one_hot(0)), photo=PHOTO),)))
    attributes.set_captions(catalog, {1: ("a dog",)})
    attributes.set_labels(catalog, [given_label(1, "dog")])
    fuse(catalog, 1, [0, 1, 0, 0])
    catalog.close()
    behind(directory, statement)
    with Catalog.open(directory) as opened, pytest.raises(UnsoundLibraryError, match=what):
        assert [
            attributes.photos(opened, [1]),
            attributes.labels(opened, [1]),
            attributes.captions(opened, [1]),
            opened.own_vectors(SPACE, [1]),
        ]


def test_a_checksum_covers_which_item_a_row_is_of() -> None:
    assert row_checksum((1, 0, "a dog")) != row_checksum((2, 0, "a dog"))
    assert row_checksum((1, 0, "a dog")) == zlib.crc32(
        json.dumps([1, 0, "a dog"], separators=(",", ":")).encode()
    )

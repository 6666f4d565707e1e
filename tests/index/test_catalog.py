"""The catalog: what was committed is there, exactly, and nothing else."""



from tests.index.conftest import digest, one_hot, picture

from mmsearch.core import Item, Modality
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch


def test_a_committed_picture_is_read_back(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a.jpg", one_hot(0)),)))
    expected = Item(
        1, Modality.IMAGE, "/photos", "/photos/a.jpg", None, digest("/photos/a.jpg"), 10, 1_000
    )
    assert catalog.items([1, 99]) == {1: expected}
    assert catalog.revision == 1

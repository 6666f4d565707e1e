"""What lies on a drive or in a folder that is not there now."""

from mmsearch.core import Ids
from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.presence import stands


def offline_ids(catalog: Catalog) -> Ids:
    """Return the sorted ids of the items whose root is not there now.

    Looks at every root, whatever the last `index` run found.
    """
    away = [root for root in catalog.roots() if not stands(catalog, root)]
    return selection.of_roots(catalog, away)

"""Image-caption data in the layouts of the field, read into one shape.

CSV (`csv_rows`), JSONL and Hugging Face metadata (`jsonl`), Karpathy JSON (`karpathy`) and
Flickr8k/30k token files (`flickr`): each module finds its files in a folder and turns them
into rows; `collect` looks the images up and groups the rows; `load` picks the layout.
"""

from mmsearch.retrieval.captions.collect import overlaps
from mmsearch.retrieval.captions.data import (
    CaptionData,
    CaptionedImage,
    DataFormat,
    Problem,
    with_dev,
)
from mmsearch.retrieval.captions.load import load_captions

__all__ = [
    "CaptionData",
    "CaptionedImage",
    "DataFormat",
    "Problem",
    "load_captions",
    "overlaps",
    "with_dev",
]

"""Small drawn scenes with captions that are true of them, to learn from and to test with."""

from mmsearch.retrieval.scenes.world import (
    Colour,
    Combination,
    Object,
    Place,
    Relation,
    Scene,
    Shape,
    Size,
    Split,
    sample_scenes,
    split_combinations,
)
from mmsearch.retrieval.scenes.writer import SceneOptions, write_scenes

__all__ = [
    "Colour",
    "Combination",
    "Object",
    "Place",
    "Relation",
    "Scene",
    "SceneOptions",
    "Shape",
    "Size",
    "Split",
    "sample_scenes",
    "split_combinations",
    "write_scenes",
]

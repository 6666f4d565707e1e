"""Plain sentences about everyday pictures, to ask a library with that has none of its own."""

import random
from typing import Final

_WHO: Final = (
    "a dog", "two dogs", "a cat", "a brown horse", "a flock of birds", "a child", "two children",
    "a baby", "a young woman", "an old man", "a group of friends", "a bride", "a football team",
    "a cyclist", "a red car", "an old bus", "a sailing boat", "a steam train", "a small aeroplane",
    "a bunch of flowers", "a tall tree", "a plate of food", "a birthday cake", "a cup of coffee",
    "a bicycle", "a wooden chair", "a crowd", "a street musician", "a climber", "a waterfall",
)  # fmt: skip
_HOW: Final = (
    "", "", "at night", "in the rain", "in the snow", "at sunset", "in the fog", "seen from above",
    "in black and white", "out of focus", "in bright sunshine", "early in the morning",
    "with a blue sky", "close up", "from far away", "reflected in water",
)  # fmt: skip
_WHERE: Final = (
    "on the beach", "in a forest", "on a mountain", "by a lake", "in a kitchen", "in a garden",
    "on a busy street", "in front of a house", "under a bridge", "at a market", "in a museum",
    "on a sofa", "at the table", "in an empty room", "on a football field", "at the station",
    "in the desert", "on a boat", "at a wedding", "in a classroom", "beside a fence",
    "near a castle", "in a city at work", "on a farm", "in a swimming pool", "at a concert",
)  # fmt: skip


def plain_sentences(count: int, seed: int = 0) -> list[str]:
    """Return `count` different sentences, the same for a seed; 10,000 at most."""
    every = [
        " ".join(f"{who} {where} {how}".split())
        for who in _WHO
        for where in _WHERE
        for how in dict.fromkeys(_HOW)
    ]
    return random.Random(seed).sample(every, count)

"""Train, index and search a joint space of pictures and sentences."""

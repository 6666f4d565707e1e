"""Other people's models become model folders: torch, open_clip and transformers, here only."""

"""Meaning: encoders, queries, training, evaluation."""

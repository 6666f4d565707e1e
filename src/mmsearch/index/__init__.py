"""Storage: rows and vectors. Knows no model and no terminal."""

"""Training of VSE++-style joint spaces. The home of torch."""

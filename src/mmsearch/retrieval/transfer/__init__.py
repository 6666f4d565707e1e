"""Items on their way between libraries and files, with their vectors."""

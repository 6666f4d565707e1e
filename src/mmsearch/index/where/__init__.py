"""Conditions on items: read from text, shown as text, answered by the catalog."""

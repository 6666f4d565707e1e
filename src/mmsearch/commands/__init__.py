"""The commands: parse, call, print. One module a group."""

"""Experiments through the public API, each one command that shows one claim; see README.md here."""

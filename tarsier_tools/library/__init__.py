"""Searching what is known about videos."""

"""Timelines: a long video described segment by segment."""

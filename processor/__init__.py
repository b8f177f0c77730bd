"""Rondo's model processor: verify, screen, merge, report, as pure functions over integers."""

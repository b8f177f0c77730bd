"""The command ``rondo`` and the demo: the only package that brings several roles together."""

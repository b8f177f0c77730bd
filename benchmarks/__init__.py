"""Measurements that anybody can repeat: ``make bench-*`` writes ``benchmarks/results/*.json``. See README.md."""

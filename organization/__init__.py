"""The organization: creates a federation, launches its rounds, collects, merges, settles, and serves what there is to see."""

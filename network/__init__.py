"""The outside systems, one file each: the chain, content stores, keys, settings, the terminal; with their twins in memory."""

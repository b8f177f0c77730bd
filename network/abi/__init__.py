"""ABI and bytecode of the contracts, committed; proven fresh by a test."""

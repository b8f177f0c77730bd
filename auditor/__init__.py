"""The auditor: re-derives a round from the chain and the content store alone, and says on chain what it found."""

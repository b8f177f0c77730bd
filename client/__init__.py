"""The client: trains on data that never leave it, posts one update a round, and is paid for its compute time.

It trusts the chain and a majority of the auditors it named, not the organization. TensorFlow is imported when it trains,
not before.
"""

"""What every part of Rondo agrees on: types, errors, artifact formats, hashes, and the replay of the chain. Pure, no I/O."""

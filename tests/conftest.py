"""How all tests run: hypothesis without a clock (a busy machine is no failure), TensorFlow quiet and on one thread.

TensorFlow reads its variables when it is first imported, whichever test does that, so they are set before any.
"""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1")
# Settings of the person who runs the tests must not leak into them.
for name in [name for name in os.environ if name.startswith("RONDO_") and name != "RONDO_IPFS"]:
    del os.environ[name]

settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")

"""Tests, which run on both sides at once.

Threads of BLAS that wait for a processor take a hundred times as long as small matrices do, so
there is one, unless the environment says otherwise.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

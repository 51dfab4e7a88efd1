"""What the operator sees: configuration, work sources, work manager, telemetry, command line."""

import os

# numpy's OpenBLAS starts a thread for each core, which spin for a while in every process, waiting for matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

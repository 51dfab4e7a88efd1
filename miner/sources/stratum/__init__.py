"""A pool over Stratum V1, whole: from bytes on a socket to jobs, and from shares to answers."""

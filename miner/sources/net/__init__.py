"""The way to a pool: TCP, TLS, proxies, and how fast shares may leave. It serves any pool protocol."""

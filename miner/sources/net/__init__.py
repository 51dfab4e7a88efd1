"""The way to a pool: TCP, TLS, proxies and how fast shares may leave. Any protocol may travel on it."""

"""Envoy's configuration messages, typed as far as they decide about a connection, and read one resource at a time."""

"""The console: pages over what other rooms know. It reads, and computes no semantics of its own."""

"""The control plane: proxies that are connected, what each is sent, and what is told of it."""

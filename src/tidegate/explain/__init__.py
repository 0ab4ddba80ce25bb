"""What becomes of one connection, read from Envoy's own configuration: the interpreter.

It knows Envoy's matching orders and nothing of who made the configuration; no meaning is read out of names.
"""

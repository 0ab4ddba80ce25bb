"""Builders: one frozen input to one Envoy resource's bytes, where each part came from, and what was decided.

Pure: no I/O, no clock, no environment. The wall: nothing of explain, dump or rules.
"""

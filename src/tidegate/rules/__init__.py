"""Packet rules as values: their model, the rule sets of each option, and the reader of iptables-save.

Touches no kernel: :mod:`tidegate.capture` applies what is described here.
"""

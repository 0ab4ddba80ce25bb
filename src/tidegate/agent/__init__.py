"""One workload's companion: Envoy's bootstrap and life, the relay of discovery, probes and drain.

It interprets no mesh configuration: resources pass through as bytes.
"""

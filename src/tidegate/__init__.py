"""tidegate: a service mesh with the Istio API on unmodified Envoy."""

__version__ = "0.1.0"

"""What injection writes into a pod's environment and the agent in it reads, and the ports that the proxy has there."""

PROBES = "ISTIO_KUBE_APP_PROBERS"
"""The application's probes, by the agent's path."""
SCRAPES = "ISTIO_PROMETHEUS_ANNOTATIONS"
"""Where the application tells its statistics."""
PROXY_PORTS = (15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090)
"""The proxy's own, by Istio: no statistics of an application are there, and asking the agent for its own would never
end."""

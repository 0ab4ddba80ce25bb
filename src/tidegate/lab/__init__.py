"""Workloads, outside hosts and name servers as network namespaces on one machine, like docker compose for a mesh."""

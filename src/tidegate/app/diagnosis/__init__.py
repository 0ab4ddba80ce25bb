"""Answers about a connection, a workload or a service: explain and describe."""

"""One model for Kubernetes Services, ServiceEntries and workloads. Pure: objects in, values out."""

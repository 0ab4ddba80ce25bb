"""What one kind of proxy may see: Sidecar egress, exportTo and namespaces, shared by all proxies of the kind. Pure."""

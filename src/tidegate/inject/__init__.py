"""Pod in, pod with its sidecar out: one pure function; the webhook and kube-inject are around it."""

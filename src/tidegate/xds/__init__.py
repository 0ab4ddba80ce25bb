"""The discovery protocol: a sans-I/O state machine for each stream, and gRPC around it. Knows no builders."""

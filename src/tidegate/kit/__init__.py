"""Small vocabulary that every room shares: errors, hosts, CIDRs, durations and Envoy object names."""

"""What an Envoy was told: a typed reading of its configuration dump, and the tables that people read it by."""

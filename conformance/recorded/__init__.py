"""Configuration that istiod generated, and how ours is compared with it."""

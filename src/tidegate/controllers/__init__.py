"""What Kubernetes' own controllers do, for the embedded store: plans are pure, one runner carries them out."""

"""The world as one immutable, versioned value, advanced by changes and sharing what they did not touch. Pure."""

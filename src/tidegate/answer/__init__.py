"""Joins what an Envoy does with one connection to the objects that made it so: who decides, who lost, and in what
class of outcome it ends. Reads the world and builders' origins; what an Envoy does is room explain's to say."""

"""``tidegate proxy-config``: what a proxy was told, read from its own Envoy."""

from tidegate.cli.proxy_config.group import proxy_config

__all__ = ["proxy_config"]

"""What a gateway (a proxy of type router) is sent besides clusters and endpoints: listeners, routes and certificates,
as the Gateways that select it and the VirtualServices bound to them say.

``gather`` reads the world, ``servers`` settles who shares a port, ``listeners`` and ``routes`` build.
"""

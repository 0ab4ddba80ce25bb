"""EnvoyFilter: patches of finished resources, the last thing that happens to them.

``patch`` reads an EnvoyFilter, ``selection`` finds those of a proxy, ``merge`` joins messages, ``elements`` edits
lists, ``listeners``, ``clusters`` and ``routes`` apply patches to one message, ``resources`` to one resource,
``bootstraps`` joins those that a proxy's agent applies, and ``layer`` keeps what a kind of proxy is shown with them.
"""

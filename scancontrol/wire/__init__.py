"""The protocol between a microscope and its client, as pure state machines: no sockets, clocks or threads.

Read :mod:`~scancontrol.wire.messages` first (what can be said), then :mod:`~scancontrol.wire.server` and
:mod:`~scancontrol.wire.client` (when it may be said), each around one transition table. The shells around
them are :mod:`scancontrol.microscope.host` and :mod:`scancontrol.link.link`.
"""

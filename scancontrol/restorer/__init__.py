"""The daemon's side of the restorer: start its process, hand it frames, hear what it made of them.

Start with :class:`~scancontrol.restorer.supervisor.RestorerProcess`; nothing here imports torch. What is asked next is
decided in :mod:`~scancontrol.restorer.requests`, what is said in :mod:`~scancontrol.restorer.conversation`.
"""

from __future__ import annotations

from scancontrol.restorer.launching import restorer_arguments
from scancontrol.restorer.requests import MissedFrame, ReadAgain, RestoredFrame
from scancontrol.restorer.supervisor import RestorerProcess, RestorerStatus

__all__ = ["MissedFrame", "ReadAgain", "RestoredFrame", "RestorerProcess", "RestorerStatus", "restorer_arguments"]

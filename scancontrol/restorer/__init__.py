"""The daemon's side of the restorer: start its process, hand it frames, hear what it made of them.

Start with :class:`~scancontrol.restorer.process.RestorerProcess`; nothing here imports torch.
"""

from __future__ import annotations

from scancontrol.restorer.ledger import MissedFrame, RestoredFrame
from scancontrol.restorer.process import RestorerProcess, RestorerStatus

__all__ = ["MissedFrame", "RestoredFrame", "RestorerProcess", "RestorerStatus"]

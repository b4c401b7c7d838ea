"""The bytes of the Open Beam Interface: :mod:`.commands` down, :mod:`.replies` up."""

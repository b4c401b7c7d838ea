"""The acquisition daemon: one process beside the microscope that wires everything together.

Start reading in :mod:`scancontrol.daemon.service`.
"""

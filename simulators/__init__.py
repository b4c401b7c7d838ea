"""A simulated microscope that is as difficult as a real one, and a simulated Open Beam Interface.

Start with :mod:`simulators.microscope`; its physics is :mod:`simulators.exposure`, what lies under the beam
:mod:`simulators.specimens.library`. ``python -m simulators --config config/simulator.yaml`` hosts it.
"""

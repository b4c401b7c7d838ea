"""The stand-ins: a simulated microscope that is as difficult as a real one.

Start with :mod:`simulators.microscope`; its physics is :mod:`simulators.exposure`, what lies under the beam
:mod:`simulators.specimens.library`. ``python -m simulators --config config/simulator.yaml`` hosts it.
"""

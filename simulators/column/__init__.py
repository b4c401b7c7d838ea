"""The parts of a microscope's column: beam, coils, probe, detectors, damage."""

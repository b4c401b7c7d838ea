"""A plan: what is asked for (:mod:`.plan`), that on one microscope, checked (:mod:`.planned`), its figures and files."""

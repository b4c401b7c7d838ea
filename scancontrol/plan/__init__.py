"""What is asked for (:mod:`.plan`), that on one microscope, checked (:mod:`.planned`), and what it costs (:mod:`.figures`)."""

"""What is asked for (:mod:`.plan`), that on one microscope, checked (:mod:`.planned`), and its figures (:mod:`.figures`)."""

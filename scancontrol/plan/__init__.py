"""What is asked for (:mod:`.plan`), and that on one microscope, checked (:mod:`.planned`), with its figures (:mod:`.figures`)."""

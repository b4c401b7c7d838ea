"""What is asked for (:mod:`.plan`); checked on a microscope (:mod:`.planned`); what it costs (:mod:`.figures`)."""

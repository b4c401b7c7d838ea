"""Pictures of what is simulated: every specimen, and what the beam does to one."""

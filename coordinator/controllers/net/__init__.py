"""Controllers of pods' networks."""

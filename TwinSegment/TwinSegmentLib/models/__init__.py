"""The models that come with the project or can be fetched: described as data, checked, and never executed."""

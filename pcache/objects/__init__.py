"""Other people's objects: looked at without running their code."""

"""Other programs that use the published models. Each needs its own package, imported where it is used."""

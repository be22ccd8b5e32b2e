"""Packs programs that are built: the same bytes for the same programs, sources and time of the commit."""

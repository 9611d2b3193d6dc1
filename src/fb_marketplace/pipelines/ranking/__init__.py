"""Ranking: texts made searchable, words brought to pictures, and a ranker over all of it."""

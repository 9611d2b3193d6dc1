"""Ranking: a ranker over all candidate sources, trained and evaluated."""

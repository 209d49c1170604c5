"""Where every relevant image stands in exact search over all images."""

from imgbench.ranks.places import DEPTH, Ranks, relevant_ranks

__all__ = ["DEPTH", "Ranks", "relevant_ranks"]

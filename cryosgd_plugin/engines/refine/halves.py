"""What becomes of half-sets that were given with the particles."""
from __future__ import annotations


def odd_halves_warning(numbers) -> list:
    """A sentence where half-sets are given but aren't exactly 1 and 2: others are then drawn.

    numbers : the different half-set numbers that occur, ascending; empty where none are given.
    """
    if list(numbers) in ([], [1, 2]):
        return []
    return [f"The half-sets given are {', '.join(map(str, numbers))} where 1 and 2 are needed: new ones are drawn, of "
            "which a reference made from the old ones is not independent."]

"""The suite that a marketplace runs over a package, and its scorecard.

from tensafe.validation import validate_package

card = validate_package(Path("support.tgsp"), trust, base)
print(card.is_ready, [item.name for item in card.failed])
"""

from tensafe.validation.records import Scorecard, ScoreItem
from tensafe.validation.suite import validate_package, validate_with_engine

__all__ = ["ScoreItem", "Scorecard", "validate_package", "validate_with_engine"]

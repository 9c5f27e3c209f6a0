"""Questions with their answers in running text, beyond the ones marked `Q:` and `A:`.

from tensafe.data.questions import find_structured

for part in find_structured(paragraphs):
    print(part)  # a Pair, a Paragraph that belongs to none, or a LeftOut with its reason
"""

from tensafe.data.questions.definitions import find_definitions
from tensafe.data.questions.pair import Pair
from tensafe.data.questions.sections import pair_sections
from tensafe.data.questions.structure import find_structured

__all__ = ["Pair", "find_definitions", "find_structured", "pair_sections"]

"""The options of curation. The same names are options of the commands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tensafe.data.columns import ColumnChoice
from tensafe.data.extraction import ReadOptions


class CurationConfig(BaseModel):
    """How files become a training and a test set.

    Columns that are not named are inferred from names and content; the result says how each file
    was understood.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question_columns: Annotated[
        tuple[str, ...],
        Field(description="Columns that hold the question; several become `name: value` lines."),
    ] = ()
    answer_column: Annotated[
        str | None, Field(description="Column that holds the answer or the label.")
    ] = None
    context_column: Annotated[
        str | None, Field(description="Column with the passage that the question is about.")
    ] = None
    system_column: Annotated[str | None, Field(description="Column with the system message.")] = (
        None
    )
    include_prose: Annotated[
        bool, Field(description="Use running text without questions as plain text examples.")
    ] = True
    passage_chars: Annotated[
        int, Field(ge=200, le=20_000, description="Size of a prose passage in characters.")
    ] = 1200
    test_share: Annotated[
        float, Field(gt=0.0, lt=1.0, description="Share of the examples held out for testing.")
    ] = 0.2
    near_duplicate_threshold: Annotated[
        float,
        Field(
            ge=0.5,
            le=1.0,
            description="Jaccard similarity of character n-grams from which on two texts count "
            "as near-duplicates and stay on one side of the split.",
        ),
    ] = 0.75
    contradictions: Annotated[
        Literal["majority", "keep", "drop"],
        Field(
            description="The same question with different labels: keep the rows of the most "
            "frequent label and drop ties (majority), keep all, or drop all. Free-text answers "
            "may differ and both be right: they are always kept, and counted."
        ),
    ] = "majority"
    repair_encoding: Annotated[
        bool, Field(description="Undo wrong decoding (Ã¼ to ü) where it is really there.")
    ] = True
    redact_pii: Annotated[
        bool,
        Field(
            description="Put marks such as [EMAIL] in place of e-mail and IP addresses, phone, "
            "card, account and social security numbers, and secrets. They are counted in any case."
        ),
    ] = False

    @property
    def read_options(self) -> ReadOptions:
        """The part that the readers need."""
        columns = ColumnChoice(
            self.question_columns, self.answer_column, self.context_column, self.system_column
        )
        return ReadOptions(columns, self.include_prose, self.passage_chars)

"""Parameters that every list shares: one spelling of pages, order and moments."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from services.orchestrator.listing import MAX_FILTER_CHARACTERS, MAX_PAGE_SIZE, ListOrder, utc

PageSize = Annotated[
    int, Query(ge=1, description=f"Items a page; more than {MAX_PAGE_SIZE} count as {MAX_PAGE_SIZE}.")
]
PageToken = Annotated[
    str,
    Query(
        description="`next_page_token` of the page before, with the same filters and order; empty for the "
        "first page.",
        max_length=2048,
    ),
]
OrderBy = Annotated[ListOrder, Query(description="In which order.")]
Text = Annotated[str, Query(max_length=MAX_FILTER_CHARACTERS)]
Moment = Annotated[datetime, AwareDatetime, AfterValidator(utc)]


class NextPage(BaseModel):
    """What every page ends with."""

    next_page_token: str = Field(description="Ask for the next page with it; empty on the last one.")

"""What a recipe can do: the stages `generate`, `rank`, `classify`, `index` and `search`."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_stages.classify_stage import ClassifyStage
from pixweave_stages.generate_stage import GenerateStage
from pixweave_stages.index_stage import IndexStage
from pixweave_stages.rank_stage import RankStage
from pixweave_stages.search_stage import SearchStage


@hookimpl
def register_stages() -> dict[str, type[Component]]:
    """Offer the five."""
    return {
        "generate": GenerateStage,
        "rank": RankStage,
        "classify": ClassifyStage,
        "index": IndexStage,
        "search": SearchStage,
    }

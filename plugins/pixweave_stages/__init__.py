"""Pipeline stages of a recipe: `generate`, `rank`, `classify`, `index` and `search`."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_stages() -> dict[str, str]:
    """Register the five stages."""
    return {
        "generate": "pixweave_stages.generate_stage:GenerateStage",
        "rank": "pixweave_stages.rank_stage:RankStage",
        "classify": "pixweave_stages.classify_stage:ClassifyStage",
        "index": "pixweave_stages.index_stage:IndexStage",
        "search": "pixweave_stages.search_stage:SearchStage",
    }

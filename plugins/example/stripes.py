"""Generator `stripes`: level stripes of free colours."""

from pixweave import Component, Field, hookimpl


class Stripes(Component):
    """A picture of level stripes, each of one colour."""

    can = frozenset({"start_from"})  # a TensorGenerator fits itself to a picture

    count: int = Field(12, ge=1, description="how many stripes")

    def build(self, run):
        import torch

        from pixweave import TensorGenerator  # like torch, at build time: lists stay fast

        width, height = run.size
        rows = torch.arange(height) * self.count // height
        start = torch.rand(1, 3, self.count, 1, generator=run.rng("stripes"))
        return TensorGenerator(
            lambda t: t["colours"][:, :, rows].expand(-1, -1, -1, width),
            colours=start.to(run.device),
        )


@hookimpl
def register_generators():
    return {"stripes": Stripes}

"""Generator `stripes`: horizontal stripes, each with a colour that is optimised."""

from pixweave import Component, Field, hookimpl


class Stripes(Component):
    """An image of horizontal stripes, each of one colour."""

    can = frozenset({"start_from"})  # a TensorGenerator can fit itself to an image

    count: int = Field(12, ge=1, description="number of stripes")

    def build(self, run):
        import torch

        from pixweave import TensorGenerator  # imported here: it needs torch, which is slow

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

"""Loss `vivid`: reward colours that are away from grey."""

from pixweave import Component, Field, hookimpl


class Vivid(Component):
    """Push colours away from grey until they are vivid enough."""

    amount: float = Field(0.3, ge=0, le=1, description="how vivid is vivid enough")

    def build(self, run):
        def loss(view):
            grey = view.image.mean(dim=1, keepdim=True)
            return (self.amount - (view.image - grey).abs().mean()).relu()

        return loss


@hookimpl
def register_losses():
    return {"vivid": Vivid}

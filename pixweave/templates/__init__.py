"""Templates of `pixweave plugins new`: a small real component of each kind, named `example`."""

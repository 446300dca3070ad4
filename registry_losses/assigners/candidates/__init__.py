"""Which priors come near a gt: enumerated on grids, streamed over bare boxes."""

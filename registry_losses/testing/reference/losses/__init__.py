"""Each loss as the formula of its paper, dense and unreduced.

Nothing here is shared with :mod:`registry_losses.losses`. The functions work on any float
dtype, take gradients by autograd, and overflow where the formula does: compare in float64, at
moderate values.
"""

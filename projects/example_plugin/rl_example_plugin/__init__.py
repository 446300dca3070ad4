"""A plugin: importing it registers a loss and an assigner."""

from .assigner import NearestPriorsAssigner, nearest_priors
from .loss import LogCoshLoss, log_cosh_loss

__all__ = ['LogCoshLoss', 'NearestPriorsAssigner', 'log_cosh_loss', 'nearest_priors']

"""A plugin: importing it registers a loss and an assigner."""

from .assigner import NearestSlotsAssigner, nearest_slots
from .loss import LogCoshLoss, log_cosh_loss

__all__ = ['LogCoshLoss', 'NearestSlotsAssigner', 'log_cosh_loss', 'nearest_slots']

"""Which of the candidates become positive: costs, alignment, dynamic k.

Which of several gts that claim a prior gets it is decided in ``../conflicts.py``.

* ``pairs.py``: reads scores, boxes and positions of single (gt, prior) pairs from a batch.
* ``alignment.py``: TOOD's measure of how well a class score and a box agree.
* ``dynamic_k.py``: each gt takes its k cheapest priors, k from its IoUs (SimOTA and its kin).
* ``costs.py``: the match costs that one-to-one matching adds up (DETR).
"""

"""Value and gradient of a loss of independent classes in one pass over the logits.

``dispatch.py`` is the way in and chooses the backend; ``job.py`` holds what a pass is given,
``negatives.py`` and ``clipped.py`` the losses of a logit whose target is zero. The backends:
``cpu_chunks.py``, ``native.py`` (C) and ``triton.py`` (CUDA).
"""

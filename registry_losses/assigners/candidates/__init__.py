"""The priors that a gt may take, found without comparing all priors with all gts.

On a regular grid they are enumerated: what is near a gt is a window of cells. Bare boxes
(proposals) are compared block by block. The results are those of comparing everything.

* ``gt_rows.py``: the gts of a batch in one list.
* ``prior_blocks.py``: the priors block by block, and the one nearest to a gt.
* ``grid.py``: windows of cells that a gt can overlap, the cell that holds a point, and the
  priors in them.
* ``prior_overlaps.py``: every (gt, prior) pair whose IoU can matter.
* ``centers.py``: the priors whose centre is in a region around a gt (in its box, near its
  centre).
* ``coverage.py``: the same for all gts of an image at once, as a mask.
* ``nearest.py``, ``windows.py``: the k priors nearest to a gt on each level.
* ``shares.py``: the priors of whose box more than a given share lies in a region of a gt.
* ``predicted_overlaps.py``: the predicted boxes that overlap a gt.
* ``predictions_over.py``: the priors whose predicted box overlaps any gt by more than a
  threshold, as a mask.
* ``gaussian_targets.py``: Gaussian targets around gts.
"""

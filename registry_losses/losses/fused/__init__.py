"""One pass over the logits for sparse targets: the job, its backends, who runs which."""

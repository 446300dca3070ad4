"""Each rule once more, as plainly as it can be written: no care for speed, memory or overflow.

To read what a rule says, start here; the tests compare the fast code with it.
"""

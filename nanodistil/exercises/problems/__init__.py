"""One file an exercise: what is asked, the cases, the slips, and how it is tried in the model and timed.

A case is made with numbers that do not change from run to run. Every slip shows in at least one case, and no two slips
look alike in all of them; a test holds them to that.
"""

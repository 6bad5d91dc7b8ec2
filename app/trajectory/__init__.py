"""Runs followed step by step, for the tab Trajectory.

recorder      a recording that goes along with a run: its states, its estimates, how hard guidance pulls
trajectory_json  recordings as the page draws them: projected paths, figures, film strips, where runs part; and as a file
"""

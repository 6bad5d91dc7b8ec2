"""Runs followed step by step, for the tab Trajectory.

following     a recording that goes along with a run: its states, its estimates, how hard guidance pulls
told          recordings as the page draws them: projected paths, figures, film strips, where runs part; and as a file
"""

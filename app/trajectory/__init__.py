"""Runs followed step by step, for the tab Trajectory.

recorder         a recording that goes along with a run: its states, its denoised predictions, the guidance norm
store            results on disk, to be opened again, with their files
trajectory_json  recordings as the page draws them: projected paths, figures, film strips, where runs part; as a file
"""

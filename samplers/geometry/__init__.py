"""The geometry of sampling: how a run moves, what the best possible denoiser would do, and schedules made from it.

trajectory    the two paths of a run: its states, and its denoised predictions
shape         how straight a path is: deviation, angles, curvature, torsion, norms; projections to 2 and 3 axes
optimal       the optimal denoiser of a finite set of images, mean shift, score deviation, nearest images
compare       two runs step by step: where a condition sets in, how far guidance leaves the unguided path
gits          schedules by dynamic programming over the teacher's path
ld3           schedules for one solver, by trials of it
amed          a solver whose intermediate point is learned

Everything is after "A Geometric Perspective on Diffusion Models" (Chen et al. 2023, arXiv 2305.19947) and what its
authors made of it (arXiv 2405.11326, 2312.00094). Coordinates are VE, as everywhere: x = x0 + sigma * eps.
"""

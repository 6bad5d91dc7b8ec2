"""Comparisons: many recipes on one input, side by side, with what each cost and how faithful it is. No Gradio here.

task        what all columns are asked for, which measures say how well that was done
conditions  what the columns are given, as images to see beside them
spec        Comparison(title, base, axes, task): .cells() -> [Cell(place, recipe, problem)]; plain JSON
store       ComparisonStore(folder): comparisons on disk, cell by cell; what is there is never made twice
runner      ComparisonRunner(comparison, ...): the cells that are missing, made through the engines, each measured
targets     from a recipe and its images to what `fidelity` compares with
ranking     ranks with intervals, the Pareto line, ratings by blind votes
export      one image with legend, CSV; html_export: a page with ranks and slider
"""

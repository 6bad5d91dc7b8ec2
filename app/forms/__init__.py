"""What the page's fields mean: stacks of methods, examples, comparisons, trajectories. Nothing here knows Gradio."""

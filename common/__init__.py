"""What every other package may use and what uses none of them: files, images as bytes, the project's colours."""

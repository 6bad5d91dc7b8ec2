"""The program's version, in recipes, in PNGs and in comparison files."""

VERSION = "0.2.0.dev0"

"""Benches: `python -m bench.speed`, `bench.fidelity`, ...; each takes --quick and --json FILE."""

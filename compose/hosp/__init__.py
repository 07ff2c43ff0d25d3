"""A simulator of HOSP, as far as HOSP is known, with its faults. For the demo, tests and benchmarks."""

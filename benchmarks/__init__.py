"""Speed and quality beside a baseline, in one run: `make bench`."""

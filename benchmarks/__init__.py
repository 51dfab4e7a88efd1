"""One command per question: `python -m benchmarks` lists them."""

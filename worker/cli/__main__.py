"""`python -m worker.cli` is `xrayq`."""

from worker.cli import main

if __name__ == "__main__":
    main()

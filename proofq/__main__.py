"""`python -m proofq` is the command `proofq`."""

from proofq.workers.cli.main import main

if __name__ == "__main__":
    main()

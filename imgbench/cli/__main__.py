"""`python -m imgbench.cli` is `imgbench`."""

from imgbench.cli import main

if __name__ == "__main__":
    main()

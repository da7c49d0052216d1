"""`python -m pixweave`."""

from pixweave.cli import main

if __name__ == "__main__":
    main()

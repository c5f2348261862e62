"""`python -m regard` is the `regard` command."""

from regard.cli.main import main

if __name__ == "__main__":
    main()

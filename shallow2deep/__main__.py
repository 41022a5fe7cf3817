"""`python -m shallow2deep` is `s2d`."""

from shallow2deep.entry import main

if __name__ == "__main__":
    main()

"""`python -m fleet_client` is the program `fleet`."""

from fleet_client.cli.program import main

if __name__ == "__main__":
    main()

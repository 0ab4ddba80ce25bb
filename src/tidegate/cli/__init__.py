"""The command line: arguments and printing. Each command imports what it needs when it runs."""

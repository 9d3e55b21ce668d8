"""The command line: the one argument parser. A command imports what it runs when it is asked for."""

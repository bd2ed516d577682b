"""The commands, one in each module. A module is imported when its command is called: see `cloison.cli.group`."""

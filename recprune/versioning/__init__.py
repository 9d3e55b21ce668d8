"""DVC and git, as commands."""

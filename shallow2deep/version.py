"""The version, for records of what made a file."""

VERSION = "0.1.0"

"""The command `proofq`: one noun per file, each command thin over a verb that the Python API has too."""

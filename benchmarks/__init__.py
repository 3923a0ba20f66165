"""`make bench`: this queue beside stock RQ, in the same run, on servers of their own. See README.md."""

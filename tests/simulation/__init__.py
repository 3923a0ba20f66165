"""The simulator: the production objects of several workers, one store call at a time, with faults between any two."""

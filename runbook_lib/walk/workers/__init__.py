"""Where segments are worked on: threads, processes of this machine, a Dask cluster."""

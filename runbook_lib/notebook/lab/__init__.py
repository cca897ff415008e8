"""The notebooks by hand in JupyterLab: working copies in a run's folder, and what saving one of them leaves."""

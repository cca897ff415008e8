"""03 with `follow`: applies what the streams of the source tables hold, until it is stopped."""

"""HTTP in, HTTP out; the command line; the web console."""

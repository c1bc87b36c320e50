"""Where the parts are put together: one file a command of the command line."""

"""One module per engine, each the only place that imports its library."""

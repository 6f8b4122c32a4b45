"""Built-in displays."""

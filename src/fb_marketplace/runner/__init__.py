"""Runner that reuses the outputs of nodes whose inputs, parameters and code have not changed."""

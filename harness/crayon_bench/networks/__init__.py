"""Networks: a body, a head, a forward pass and its map; weights, training, neurons, exported models."""

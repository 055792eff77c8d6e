"""Energy models, and the potentials that fits make of them."""

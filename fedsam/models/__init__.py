"""Models: one module each; any `package.module:callable` that returns a torch module works beside them."""

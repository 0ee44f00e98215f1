"""What several cases share: the work of a round, the loop by hand that is its limit, a GPU's bounds. No cases."""

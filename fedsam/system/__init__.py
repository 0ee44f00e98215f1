"""Who of a round's clients delivers, and when: systems of devices, one class each."""
